//! One log entry while it is applied.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, Epoch, ShardId};

use crate::fence::Fence;
use crate::hold;
use crate::{Campaign, Outcome, Refusal, Store};

/// A log entry while it is applied: the shard, its store, and the campaigns that the entry has
/// touched so far.
#[derive(Debug)]
pub(crate) struct Entry<'a, S> {
    pub(crate) fence: &'a mut Fence,
    pub(crate) store: &'a mut S,
    pub(crate) touched: TouchedCampaigns,
}

impl<'a, S: Store> Entry<'a, S> {
    pub(crate) fn new(fence: &'a mut Fence, store: &'a mut S) -> Self {
        Self { fence, store, touched: TouchedCampaigns::default() }
    }

    /// Takes a newer ring into force.
    pub(crate) fn adopt_ring(
        &mut self,
        epoch: Epoch,
        ring_shards: Vec<ShardId>,
    ) -> Result<Outcome, S::Error> {
        if epoch > self.fence.state.epoch {
            // Another ring, other owners: every campaign has to pass the fence again.
            self.touched.flush(self.store)?;
            self.fence.adopt_ring(epoch, ring_shards);
        }
        Ok(Outcome::RingAdopted { epoch: self.fence.state.epoch })
    }

    /// Writes what the commands have left to write.
    pub(crate) fn finish(mut self) -> Result<(), S::Error> {
        self.touched.flush(self.store)?;
        self.store.put_shard_state(&self.fence.state)
    }
}

/// The campaigns that an entry has touched and that have passed the fence at the epoch in force.
///
/// When a campaign opens, a whole entry is about that one campaign. Thus the ring is asked and the
/// campaign read once for all its commands, and its counters are written once.
#[derive(Debug, Default)]
pub(crate) struct TouchedCampaigns {
    by_name: BTreeMap<CampaignName, Touched>,
    /// The names of those that were asked for by number.
    names: BTreeMap<u32, CampaignName>,
}

/// A campaign that an entry has touched.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) campaign: Campaign,
    /// Whether the counters differ from those in the store.
    pub(crate) changed: bool,
}

impl Touched {
    /// The campaign, with quota back if expired holds claimed any.
    fn settled<S: Store>(&mut self, fence: &Fence, store: &mut S) -> Result<Found<'_>, S::Error> {
        self.changed |= hold::settle_some(store, &mut self.campaign, fence.state.log_time)?;
        Ok(Found::Campaign(self))
    }
}

/// What became of the search for a campaign.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// It is this one.
    Campaign(&'a mut Touched),
    /// This shard owns the id, and there is no campaign with it.
    Nothing,
    /// The command does not pass the fence.
    Fenced(Refusal),
}

impl TouchedCampaigns {
    /// Finds the campaign that a command of `epoch` names, if the command passes the fence. A deleted campaign is not
    /// found.
    pub(crate) fn find<S: Store>(
        &mut self,
        fence: &Fence,
        store: &mut S,
        epoch: Epoch,
        id: &CampaignName,
    ) -> Result<Found<'_>, S::Error> {
        Ok(match self.find_with_deleted(fence, store, epoch, id)? {
            Found::Campaign(touched) if touched.campaign.spec.is_deleted() => Found::Nothing,
            found @ (Found::Campaign(_) | Found::Nothing | Found::Fenced(_)) => found,
        })
    }

    /// Finds the campaign that a command of `epoch` names, or what is left of it, if the command passes the fence. Some of
    /// the holds that have expired no longer count, if there are any.
    pub(crate) fn find_with_deleted<S: Store>(
        &mut self,
        fence: &Fence,
        store: &mut S,
        epoch: Epoch,
        id: &CampaignName,
    ) -> Result<Found<'_>, S::Error> {
        if self.by_name.contains_key(id) {
            // The epoch is the command's own and has to be looked at even though the owner has not.
            return match self.by_name.get_mut(id) {
                Some(touched) if epoch == fence.state.epoch => touched.settled(fence, store),
                Some(_) | None => {
                    Ok(Found::Fenced(Refusal::StaleEpoch { epoch: fence.state.epoch }))
                }
            };
        }
        if let Err(refusal) = fence.check(epoch, id) {
            return Ok(Found::Fenced(refusal));
        }
        match store.campaign(id)? {
            Some(campaign) => {
                let touched = Touched { campaign, changed: false };
                self.by_name.entry(id.clone()).or_insert(touched).settled(fence, store)
            }
            None => Ok(Found::Nothing),
        }
    }

    /// The campaign with this name, if the entry has touched it.
    pub(crate) fn touched(&mut self, name: &CampaignName) -> Option<&mut Touched> {
        self.by_name.get_mut(name)
    }

    /// The name of the campaign with a number in the shard, if there is one.
    pub(crate) fn name_of<S: Store>(
        &mut self,
        store: &mut S,
        number: u32,
    ) -> Result<Option<CampaignName>, S::Error> {
        if let Some(name) = self.names.get(&number) {
            return Ok(Some(name.clone()));
        }
        let Some(campaign) = store.campaign_of_number(number)? else { return Ok(None) };
        let name = campaign.spec.name.clone();
        self.names.insert(number, name.clone());
        Ok(Some(name))
    }

    /// Writes the counters of the campaigns that have changed, and forgets all campaigns.
    fn flush<S: Store>(&mut self, store: &mut S) -> Result<(), S::Error> {
        let Self { by_name, names: _ } = std::mem::take(self);
        for touched in by_name.into_values() {
            if touched.changed {
                store.put_counters(&touched.campaign.spec, touched.campaign.counters)?;
            }
        }
        Ok(())
    }
}
