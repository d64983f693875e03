//! The ledger of a shard.

use coupon_cluster::{CampaignId, Epoch, Ring, ShardId};

use crate::entry::Entry;
use crate::{Command, LogTime, Outcome, Refusal, ShardState, Store};

/// The ledger of a shard: applies log entries to a [`Store`].
///
/// It holds nothing but a copy of the shard's own state, and the ring made of it. One ledger goes
/// with one store: when the store is replaced, as by a snapshot, open a new one.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) shard: ShardId,
    pub(crate) state: ShardState,
    /// `None`: the ring has no members, and nobody owns anything.
    ring: Option<Ring>,
}

impl Ledger {
    /// Opens the ledger of a shard on its store.
    ///
    /// # Errors
    ///
    /// A fault of the storage.
    pub fn open<S: Store>(shard: ShardId, store: &mut S) -> Result<Self, S::Error> {
        let state = store.shard_state()?;
        let ring = Ring::new(state.epoch, state.ring_shards.iter().copied());
        Ok(Self { shard, state, ring })
    }

    /// What the ledger knows about its shard, as of the last entry.
    #[must_use]
    pub fn state(&self) -> &ShardState {
        &self.state
    }

    /// Checks that a sender who routed a campaign to this shard by the ring of `epoch` was right.
    ///
    /// This is what makes a campaign have one owner at any position of the log: a router may be
    /// arbitrarily late, and a command may have waited for as long.
    ///
    /// # Errors
    ///
    /// [`Refusal::StaleEpoch`] or [`Refusal::NotOwner`].
    pub fn fence(&self, epoch: Epoch, campaign: &CampaignId) -> Result<(), Refusal> {
        let in_force = self.state.epoch;
        if epoch != in_force {
            return Err(Refusal::StaleEpoch { epoch: in_force });
        }
        match &self.ring {
            Some(ring) if ring.owner(campaign) == self.shard => Ok(()),
            Some(_) | None => Err(Refusal::NotOwner { epoch: in_force }),
        }
    }

    /// Applies one log entry and returns the outcomes of its commands, in their order.
    ///
    /// All commands of the entry happen at one log time: the one stamped on the entry, or the greatest
    /// one seen before if that is later, since log time never runs backwards.
    ///
    /// # Errors
    ///
    /// A fault of the storage. The ledger and whatever the store has not made durable are unusable
    /// then: the replica has to stop, and apply the entry again from its durable state.
    pub fn apply<S: Store>(
        &mut self,
        store: &mut S,
        stamped: LogTime,
        commands: Vec<Command>,
    ) -> Result<Vec<Outcome>, S::Error> {
        self.state.log_time = self.state.log_time.max(stamped);
        let mut entry = Entry::new(self, store);
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(entry.apply(command)?);
        }
        entry.finish()?;
        Ok(outcomes)
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
