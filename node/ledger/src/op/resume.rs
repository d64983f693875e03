//! Resuming a campaign.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use super::pause::switched;
use crate::entry::Entry;
use crate::{Change, ChangeKind, Outcome, Store};

/// Issues coupons of a paused campaign again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeCampaign {
    /// The campaign.
    pub campaign: CampaignName,
    /// Recognises a retry.
    pub request_id: RequestId,
}

impl<S: Store> Entry<'_, S> {
    /// Resumes a campaign, unless it is not paused.
    pub(crate) fn resume_campaign(
        &mut self,
        epoch: Epoch,
        command: &ResumeCampaign,
    ) -> Result<Outcome, S::Error> {
        let ResumeCampaign { campaign, request_id } = command;
        let change = Change { request_id: *request_id, kind: ChangeKind::Resume };
        self.change_campaign(epoch, campaign, change, |campaign, now| {
            switched(campaign, now, false)
        })
    }
}
