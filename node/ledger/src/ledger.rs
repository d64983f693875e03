//! The ledger of a shard.

use coupon_cluster::{CampaignName, Epoch, ShardId};

use crate::entry::Entry;
use crate::fence::Fence;
use crate::hold::settle;
use crate::op::{self, created, hold_without_effect, without_effect};
use crate::{
    Action, Campaign, Command, CreateCampaign, HoldCoupon, Issue, LogTime, Outcome, Refusal,
    ShardState, StateReader, Store,
};

/// The ledger of a shard: applies log entries to a [`Store`].
///
/// It holds nothing but a copy of the shard's own state, and the ring made of it. One ledger goes
/// with one store: when the store is replaced, as by a snapshot, open a new one.
#[derive(Debug)]
pub struct Ledger {
    fence: Fence,
}

/// A command that asks for quota.
#[derive(Clone, Copy)]
enum QuotaRequest<'a> {
    Coupon(&'a Issue),
    Hold(&'a HoldCoupon),
}

impl QuotaRequest<'_> {
    fn campaign(&self) -> &CampaignName {
        match self {
            Self::Coupon(issue) => &issue.campaign,
            Self::Hold(hold) => &hold.campaign,
        }
    }
}

impl Ledger {
    /// Opens the ledger of a shard on its store.
    ///
    /// # Errors
    ///
    /// A fault of the storage.
    pub fn open<S: StateReader>(shard: ShardId, store: &mut S) -> Result<Self, S::Error> {
        Ok(Self { fence: Fence::new(shard, store.shard_state()?) })
    }

    /// Reads its own state anew, for a ledger that only answers while another one applies entries.
    ///
    /// # Errors
    ///
    /// A fault of the storage.
    pub fn refresh<S: StateReader>(&mut self, store: &mut S) -> Result<(), S::Error> {
        self.fence.refresh(store.shard_state()?);
        Ok(())
    }

    /// The outcome of a command if it were applied now, where it would change nothing: a refusal, or the
    /// answer to a request that was answered before. `None` where only an entry of the log can tell.
    ///
    /// `now` is the time that an entry would be stamped with, no earlier than that of any entry on its way. No entry
    /// on its way may reopen the campaign: this very request, sent earlier, could follow it. Coupons and holds are shown as
    /// they are at `shown_at`, no later than any entry on its way, since that may still change them.
    ///
    /// # Errors
    ///
    /// A fault of the storage.
    pub fn outcome_without_effect<S: StateReader>(
        &self,
        store: &mut S,
        now: LogTime,
        shown_at: LogTime,
        command: &Command,
    ) -> Result<Option<Outcome>, S::Error> {
        let request = match &command.action {
            Action::Issue(issue) => QuotaRequest::Coupon(issue),
            Action::HoldCoupon(hold) => QuotaRequest::Hold(hold),
            Action::Unreadable => return Ok(Some(Refusal::Unreadable.into())),
            Action::CreateCampaign(_)
            | Action::PauseCampaign(_)
            | Action::ResumeCampaign(_)
            | Action::UpdateCampaign(_)
            | Action::EndCampaign(_)
            | Action::ArchiveCampaign(_)
            | Action::DeleteCampaign(_)
            | Action::RedeemCoupon(_)
            | Action::ReverseRedemption(_)
            | Action::VoidCoupon(_)
            | Action::ConfirmHold(_)
            | Action::ReleaseHold(_)
            | Action::ImportCodes(_)
            | Action::AdoptRing { .. }
            | Action::SkipCounters => return Ok(None),
        };
        let name = request.campaign();
        if self.fence.check(command.epoch, name).is_err() {
            return Ok(None);
        }
        let found = store.campaign(name)?;
        let Some(mut campaign) = found.filter(|campaign| !campaign.spec.is_deleted()) else {
            return Ok(None);
        };
        let log_time = self.fence.state.log_time;
        let now = log_time.max(now);
        settle(store, &mut campaign, now)?;
        let mut outcome = match request {
            QuotaRequest::Coupon(issue) => without_effect(store, &campaign, issue, now)?,
            QuotaRequest::Hold(hold) => hold_without_effect(store, &campaign, hold, now)?,
        };
        // Entries on their way may hold this very request, sent earlier, and be stamped before the end.
        let may_change = matches!(outcome, Some(Outcome::Refused(Refusal::Ended { .. })))
            && campaign.spec.end.is_none_or(|end| log_time < end);
        if let Some(
            Outcome::CouponIssued { now, .. }
            | Outcome::HoldChanged { now, .. }
            | Outcome::Refused(Refusal::RecipientLimitReached { now, .. }),
        ) = &mut outcome
        {
            *now = log_time.max(shown_at);
        }
        Ok(outcome.filter(|_| !may_change))
    }

    /// The outcome of a command that creates a campaign if a shard in this state applied it at `now`; `existing` is the
    /// campaign with its id, or what is left of it. Nothing is created.
    #[must_use]
    pub fn outcome_of_creation(
        shard: ShardId,
        state: ShardState,
        existing: Option<&Campaign>,
        now: LogTime,
        epoch: Epoch,
        command: CreateCampaign,
    ) -> Outcome {
        let fence = Fence::new(shard, state);
        match fence.check(epoch, &command.name) {
            Ok(()) => created(&fence, fence.state.log_time.max(now), existing, command),
            Err(refusal) => refusal.into(),
        }
    }

    /// What the ledger knows about its shard, as of the last entry.
    #[must_use]
    pub fn state(&self) -> &ShardState {
        &self.fence.state
    }

    /// Checks that a sender who routed a campaign to this shard by the ring of `epoch` was right.
    ///
    /// # Errors
    ///
    /// [`Refusal::StaleEpoch`] or [`Refusal::NotOwner`].
    pub fn fence(&self, epoch: Epoch, campaign: &CampaignName) -> Result<(), Refusal> {
        self.fence.check(epoch, campaign)
    }

    /// Applies one log entry and returns the outcomes of its commands, in their order.
    ///
    /// All commands of the entry happen at one log time: the one stamped on the entry, or the greatest
    /// one seen before if that is later, since log time never runs backwards. Only a command that ends a
    /// campaign happens a microsecond later, and so does what follows it.
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
        self.fence.state.log_time = self.fence.state.log_time.max(stamped);
        store.prefetch(&commands);
        let mut entry = Entry::new(&mut self.fence, store);
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(op::apply(&mut entry, command)?);
        }
        entry.finish()?;
        Ok(outcomes)
    }
}
