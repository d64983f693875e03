//! The ledger of a shard.

use coupon_cluster::{CampaignId, Epoch, Ring, ShardId};

use crate::entry::Entry;
use crate::issue::without_effect;
use crate::{
    Action, CampaignState, Command, LogTime, Outcome, Refusal, ShardState, StateReader, Store,
};

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
    pub fn open<S: StateReader>(shard: ShardId, store: &mut S) -> Result<Self, S::Error> {
        let state = store.shard_state()?;
        let ring = Ring::new(state.epoch, state.ring_shards.iter().copied());
        Ok(Self { shard, state, ring })
    }

    /// Reads its own state anew, for a ledger that only answers while another one applies entries.
    ///
    /// # Errors
    ///
    /// A fault of the storage.
    pub fn refresh<S: StateReader>(&mut self, store: &mut S) -> Result<(), S::Error> {
        let state = store.shard_state()?;
        if state.epoch != self.state.epoch {
            self.ring = Ring::new(state.epoch, state.ring_shards.iter().copied());
        }
        self.state = state;
        Ok(())
    }

    /// The outcome of a command if it were applied now, where it would change nothing: a refusal, or the
    /// answer to a request that was answered before. `None` where only an entry of the log can tell.
    ///
    /// `now` is the time that an entry would be stamped with, no earlier than that of any entry on its way.
    ///
    /// # Errors
    ///
    /// A fault of the storage.
    pub fn outcome_without_effect<S: StateReader>(
        &self,
        store: &mut S,
        now: LogTime,
        command: &Command,
    ) -> Result<Option<Outcome>, S::Error> {
        let Action::Issue(issue) = &command.action else { return Ok(None) };
        if self.fence(command.epoch, &issue.campaign).is_err() {
            return Ok(None);
        }
        let Some(campaign) = store.campaign(&issue.campaign)? else { return Ok(None) };
        let log_time = self.state.log_time;
        let outcome = without_effect(store, &campaign, issue, log_time.max(now))?;
        // By the clock it has ended, but entries on their way may have been stamped before. One of them may hold
        // this very request, sent earlier.
        let ends_too_early = matches!(outcome, Some(Outcome::Refused(Refusal::Ended { .. })))
            && campaign.state_at(log_time) != CampaignState::Ended;
        Ok(outcome.filter(|_| !ends_too_early))
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
