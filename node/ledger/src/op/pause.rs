//! Pausing a campaign.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use super::change::refuse_ended;
use crate::entry::Entry;
use crate::{Campaign, CampaignSpec, Change, ChangeKind, LogTime, Outcome, Refusal, Store};

/// Stops issuing and holding coupons of a campaign until it is resumed. What was issued stays issued, open holds can
/// be confirmed, and retries of requests that were answered are answered.
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
        self.change_campaign(epoch, campaign, change, |campaign, now| switched(campaign, now, true))
    }
}

/// The campaign paused, or resumed; `None` where it is so already.
///
/// # Errors
///
/// [`Refusal::Ended`].
pub(super) fn switched(
    campaign: &Campaign,
    now: LogTime,
    is_paused: bool,
) -> Result<Option<CampaignSpec>, Refusal> {
    refuse_ended(campaign, now)?;
    let spec = &*campaign.spec;
    Ok((spec.is_paused != is_paused).then(|| CampaignSpec { is_paused, ..spec.clone() }))
}
