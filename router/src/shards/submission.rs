//! A command on its way through the stream of a shard, and the caller that waits for its answer.

use bytes::Bytes;
use coupon_cluster::Epoch;
use coupon_proto::internal::Outcome;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::route::retry::{Attempts, Unanswered};

/// A command and who waits for it.
pub(crate) struct Submission {
    /// The command, encoded.
    pub(crate) command: Bytes,
    /// When its caller stops waiting, as the node is told: microseconds since 1970; 0: never.
    pub(crate) deadline_micros: u64,
    /// Who waits for it.
    pub(crate) waiter: Waiter,
}

/// Who waits for a command.
pub(crate) struct Waiter {
    /// When it must have been answered.
    pub(crate) deadline: Instant,
    /// What is known of the command so far.
    pub(crate) attempts: Attempts,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What of a command is not as the newest shard map has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outdated {
    /// The shard does not own the campaign, or not at the epoch of the command; it is at this one.
    Epoch(Epoch),
    /// It creates a campaign with an older code key than the newest one.
    CodeKey,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The ledger answered.
    Outcome(Outcome),
    /// The command is not for this shard, or not as it is. It may be sent again.
    Outdated {
        /// Why.
        why: Outdated,
        /// What is known of the command so far.
        attempts: Attempts,
    },
    /// Nobody answered in time.
    Unanswered(Unanswered),
}

impl Waiter {
    /// Whether the caller has hung up.
    pub(crate) fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Whether the caller has hung up or would by now.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.deadline <= now || self.is_gone()
    }

    /// Hands the caller its answer.
    pub(crate) fn answer(self, answer: Answer) {
        // The caller may have hung up, which is its right.
        let _ = self.answer.send(answer);
    }

    /// Tells the caller what is known of the command so far.
    pub(crate) fn give_up(self) {
        let unanswered = self.attempts.unanswered();
        self.answer(Answer::Unanswered(unanswered));
    }
}
