//! What an administrator changes about a campaign: the part that all such operations share.

use std::sync::Arc;

use coupon_cluster::{CampaignName, CampaignState, Epoch};

use crate::entry::{Entry, Found};
use crate::{CampaignSpec, Change, Outcome, Refusal, Store};

/// How many of its latest changes a campaign remembers. A retry that comes after as many others is taken for a new
/// request.
const CHANGES_REMEMBERED: usize = 16;

impl<S: Store> Entry<'_, S> {
    /// Makes a change of a campaign that has not ended, once. `alter` returns whether there is anything to
    /// change.
    pub(super) fn change_campaign(
        &mut self,
        epoch: Epoch,
        campaign: &CampaignName,
        change: Change,
        alter: impl FnOnce(&mut CampaignSpec) -> bool,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let touched = match touched.find(fence, *store, epoch, campaign)? {
            Found::Campaign(touched) => touched,
            Found::Nothing => return Ok(Refusal::CampaignNotFound.into()),
            Found::Fenced(refusal) => return Ok(refusal.into()),
        };
        let campaign = &mut touched.campaign;
        let now = fence.state.log_time;
        let made = |made: &&Change| made.request_id == change.request_id;
        if let Some(made) = campaign.spec.changes.iter().find(made) {
            return Ok(if *made == change {
                Outcome::CampaignChanged { campaign: campaign.clone(), replayed: true }
            } else {
                Refusal::RequestIdReused.into()
            });
        }
        if let (CampaignState::Ended, Some(end)) = (campaign.state_at(now), campaign.spec.end) {
            return Ok(Refusal::Ended { end, now }.into());
        }
        let spec = Arc::make_mut(&mut campaign.spec);
        // A request that found nothing to change is remembered as well: repeated later, it still changes nothing.
        spec.changes.push(change);
        let forgotten = spec.changes.len().saturating_sub(CHANGES_REMEMBERED);
        spec.changes.drain(..forgotten);
        if alter(spec) {
            campaign.counters.revision = campaign.counters.revision.saturating_add(1);
            touched.changed = true;
        }
        store.put_campaign(campaign)?;
        Ok(Outcome::CampaignChanged { campaign: campaign.clone(), replayed: false })
    }
}
