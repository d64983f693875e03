//! What makes a campaign have one owner at any position of the log.

use coupon_cluster::{CampaignName, Epoch, Ring, ShardId};

use crate::{Refusal, ShardState};

/// A shard's own state, and the ring made of it.
#[derive(Debug)]
pub(crate) struct Fence {
    pub(crate) shard: ShardId,
    pub(crate) state: ShardState,
    /// `None`: the ring has no members, and nobody owns anything.
    ring: Option<Ring>,
}

impl Fence {
    /// The fence of a shard in this state.
    pub(crate) fn new(shard: ShardId, state: ShardState) -> Self {
        let ring = Ring::new(state.epoch, state.ring_shards.iter().copied());
        Self { shard, state, ring }
    }

    /// Replaces the state.
    pub(crate) fn refresh(&mut self, state: ShardState) {
        if state.epoch == self.state.epoch {
            self.state = state;
        } else {
            *self = Self::new(self.shard, state);
        }
    }

    /// Checks that a sender who routed a campaign to this shard by the ring of `epoch` was right.
    ///
    /// This is what makes a campaign have one owner at any position of the log: a router may be
    /// arbitrarily late, and a command may have waited for as long.
    ///
    /// # Errors
    ///
    /// [`Refusal::StaleEpoch`] or [`Refusal::NotOwner`].
    pub(crate) fn check(&self, epoch: Epoch, campaign: &CampaignName) -> Result<(), Refusal> {
        let in_force = self.state.epoch;
        if epoch != in_force {
            return Err(Refusal::StaleEpoch { epoch: in_force });
        }
        match &self.ring {
            Some(ring) if ring.owner(campaign) == self.shard => Ok(()),
            Some(_) | None => Err(Refusal::NotOwner { epoch: in_force }),
        }
    }

    /// Takes a ring into force.
    pub(crate) fn adopt_ring(&mut self, epoch: Epoch, mut ring_shards: Vec<ShardId>) {
        // A ring is a set. Kept in one form, it is the same bytes whoever proposed it.
        ring_shards.sort_unstable();
        ring_shards.dedup();
        self.ring = Ring::new(epoch, ring_shards.iter().copied());
        self.state.epoch = epoch;
        self.state.ring_shards = ring_shards;
    }
}
