//! Ending a campaign.

use coupon_cluster::{CampaignName, CampaignState, Epoch, RequestId};

use crate::entry::Entry;
use crate::{CampaignSpec, Change, ChangeKind, Outcome, Store};

/// Ends a campaign now. This cannot be undone; coupons that were issued stay valid, and open holds can be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndCampaign {
    /// The campaign.
    pub campaign: CampaignName,
    /// Recognises a retry.
    pub request_id: RequestId,
}

impl<S: Store> Entry<'_, S> {
    /// Ends a campaign, unless it has ended.
    ///
    /// That takes a microsecond of log time: coupons that the same entry issued are from before the end.
    pub(crate) fn end_campaign(
        &mut self,
        epoch: Epoch,
        command: &EndCampaign,
    ) -> Result<Outcome, S::Error> {
        let EndCampaign { campaign, request_id } = command;
        let change = Change { request_id: *request_id, kind: ChangeKind::End };
        let end = self.fence.state.log_time.after_micros(1);
        let mut outcome =
            self.change_campaign_at(epoch, campaign, change, end, |campaign, now| {
                let has_ended = match campaign.state_at(now) {
                    CampaignState::Ended | CampaignState::Archived => true,
                    CampaignState::Scheduled
                    | CampaignState::Active
                    | CampaignState::Paused
                    | CampaignState::Exhausted => false,
                };
                let ended =
                    || CampaignSpec { end: Some(now), ..CampaignSpec::clone(&campaign.spec) };
                Ok((!has_ended).then(ended))
            })?;
        if let Outcome::CampaignChanged { campaign, now, .. } = &mut outcome
            && campaign.spec.end == Some(end)
        {
            (*now, self.fence.state.log_time) = (end, end);
        }
        Ok(outcome)
    }
}
