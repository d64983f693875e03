//! Archiving a campaign.

use coupon_cluster::{CampaignName, CampaignState, Epoch, RequestId};

use crate::entry::Entry;
use crate::{CampaignSpec, CampaignStage, Change, ChangeKind, Outcome, Refusal, Store};

/// Makes a campaign that has ended and has no open holds read-only. This cannot be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveCampaign {
    /// The campaign.
    pub campaign: CampaignName,
    /// Recognises a retry.
    pub request_id: RequestId,
}

impl<S: Store> Entry<'_, S> {
    /// Archives a campaign that has ended, unless it is archived. Open holds can still be confirmed, so they come first.
    pub(crate) fn archive_campaign(
        &mut self,
        epoch: Epoch,
        command: &ArchiveCampaign,
    ) -> Result<Outcome, S::Error> {
        let ArchiveCampaign { campaign, request_id } = command;
        let change = Change { request_id: *request_id, kind: ChangeKind::Archive };
        self.change_campaign(epoch, campaign, change, |campaign, now| {
            match campaign.state_at(now) {
                CampaignState::Archived => Ok(None),
                CampaignState::Ended if campaign.counters.held > 0 => {
                    Err(Refusal::HoldsOpen { held: campaign.counters.held })
                }
                CampaignState::Ended => {
                    let stage = CampaignStage::Archived;
                    Ok(Some(CampaignSpec { stage, ..CampaignSpec::clone(&campaign.spec) }))
                }
                CampaignState::Scheduled
                | CampaignState::Active
                | CampaignState::Paused
                | CampaignState::Exhausted => Err(Refusal::NotEnded),
            }
        })
    }
}
