//! Pausing a campaign.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use crate::entry::Entry;
use crate::{Change, ChangeKind, Outcome, Store};

/// Stops issuing coupons of a campaign until it is resumed. What was issued stays issued, and retries of
/// requests that were answered are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseCampaign {
    /// The campaign.
    pub campaign: CampaignName,
    /// Recognises a retry.
    pub request_id: RequestId,
}

impl<S: Store> Entry<'_, S> {
    /// Pauses a campaign, unless it is paused.
    pub(crate) fn pause_campaign(
        &mut self,
        epoch: Epoch,
        command: &PauseCampaign,
    ) -> Result<Outcome, S::Error> {
        let PauseCampaign { campaign, request_id } = command;
        let change = Change { request_id: *request_id, kind: ChangeKind::Pause };
        self.change_campaign(epoch, campaign, change, |spec| {
            !std::mem::replace(&mut spec.is_paused, true)
        })
    }
}
