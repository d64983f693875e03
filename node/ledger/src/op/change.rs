//! What an administrator changes about a campaign: the part that all such operations share.

use std::sync::Arc;

use coupon_cluster::{CampaignName, CampaignState, Epoch};

use crate::entry::{Entry, Found};
use crate::event::{of_change, record};
use crate::hold::settle;
use crate::{
    Campaign, CampaignSpec, CampaignStage, Change, CreationTerms, LogTime, Outcome, Refusal, Store,
};

/// How many of its latest changes a campaign remembers. A retry that comes after as many others is taken for a new
/// request.
const CHANGES_REMEMBERED: usize = 16;

impl<S: Store> Entry<'_, S> {
    /// Makes a change of a campaign, once. `alter` is given the campaign and log time, and returns what the campaign
    /// is to be; `None` where there is nothing to change.
    pub(super) fn change_campaign(
        &mut self,
        epoch: Epoch,
        campaign: &CampaignName,
        change: Change,
        alter: impl FnOnce(&Campaign, LogTime) -> Result<Option<CampaignSpec>, Refusal>,
    ) -> Result<Outcome, S::Error> {
        let now = self.fence.state.log_time;
        self.change_campaign_at(epoch, campaign, change, now, alter)
    }

    /// The same at log time `now`, to which the caller moves it if something is changed, in the outcome as well.
    pub(super) fn change_campaign_at(
        &mut self,
        epoch: Epoch,
        campaign: &CampaignName,
        change: Change,
        now: LogTime,
        alter: impl FnOnce(&Campaign, LogTime) -> Result<Option<CampaignSpec>, Refusal>,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let touched = match touched.find(fence, *store, epoch, campaign)? {
            Found::Campaign(touched) => touched,
            Found::Nothing => return Ok(Refusal::CampaignNotFound.into()),
            Found::Fenced(refusal) => return Ok(refusal.into()),
        };
        let log_time = fence.state.log_time;
        let campaign = &mut touched.campaign;
        let made = |made: &&Change| made.request_id == change.request_id;
        if let Some(made) = campaign.spec.changes.iter().find(made) {
            return Ok(if *made == change {
                Outcome::CampaignChanged {
                    campaign: campaign.clone(),
                    now: log_time,
                    replayed: true,
                }
            } else {
                Refusal::RequestIdReused.into()
            });
        }
        let altered = match alter(campaign, now) {
            Ok(altered) => altered,
            Err(refusal) => return Ok(refusal.into()),
        };
        if let Some(altered) = altered {
            settle(*store, campaign, now)?;
            let has_other_quota = altered.quota != campaign.spec.quota;
            let revision = campaign.counters.revision.saturating_add(1);
            campaign.counters.revision = revision;
            let asked = asked(&campaign.spec, &altered);
            let spec = CampaignSpec { updated: now, updated_revision: revision, asked, ..altered };
            campaign.spec = Arc::new(spec);
            if has_other_quota {
                campaign.note_sold_out(now);
            }
            touched.changed = true;
            if let Some(kind) = of_change(change.kind, &campaign.spec) {
                record(*store, campaign, now, change.request_id, kind)?;
            }
        }
        // A request that found nothing to change is remembered as well: repeated later, it still changes nothing.
        let changes = &mut Arc::make_mut(&mut campaign.spec).changes;
        changes.push(change);
        let forgotten = changes.len().saturating_sub(CHANGES_REMEMBERED);
        changes.drain(..forgotten);
        store.put_campaign(campaign)?;
        Ok(Outcome::CampaignChanged { campaign: campaign.clone(), now: log_time, replayed: false })
    }
}

/// What the creation asked for, for a campaign that is about to be altered.
fn asked(before: &CampaignSpec, altered: &CampaignSpec) -> Option<Box<CreationTerms>> {
    let terms = |spec: &CampaignSpec| CreationTerms {
        display_name: spec.display_name.clone(),
        quota: spec.quota,
        end: spec.end,
        labels: spec.labels.clone(),
    };
    let is_first = before.asked.is_none() && terms(before) != terms(altered);
    if is_first { Some(Box::new(terms(before))) } else { before.asked.clone() }
}

/// Refuses what must not be done to a campaign that has ended.
///
/// # Errors
///
/// [`Refusal::Ended`], [`Refusal::Archived`].
pub(super) fn refuse_ended(campaign: &Campaign, now: LogTime) -> Result<(), Refusal> {
    refuse_archived(campaign)?;
    match (campaign.state_at(now), campaign.spec.end) {
        (CampaignState::Ended, Some(end)) => Err(Refusal::Ended { end, now }),
        _ => Ok(()),
    }
}

/// Refuses what must not be done to a campaign that is archived.
///
/// # Errors
///
/// [`Refusal::Archived`].
pub(super) fn refuse_archived(campaign: &Campaign) -> Result<(), Refusal> {
    match campaign.spec.stage {
        CampaignStage::InUse => Ok(()),
        CampaignStage::Archived | CampaignStage::Deleted => Err(Refusal::Archived),
    }
}
