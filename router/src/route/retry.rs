//! When to try again, how long to wait before, and what may be said at the end. Pure.
//!
//! Two questions are kept apart. Whether a command *may have been proposed* is remembered over all
//! its attempts, since one such attempt makes every later failure unknown. Whether another attempt
//! is *allowed* depends on the miss: as long as nobody leads the shard, waiting is cheap and the
//! deadline is the only limit; an overloaded shard gets few retries, paid from a budget, because
//! retries are what keeps it overloaded.

use std::time::Duration;

use coupon_cluster::Epoch;
use coupon_proto::internal::{Refusal, RefusalReason};
use tonic::Code;

/// How long the router waits for a single step of an attempt. The defaults fit the election timeout
/// that nodes have by default, 0.75 to 1 s; tests shorten them.
#[derive(Debug, Clone)]
pub struct Timing {
    /// From opening a stream to a node's hello. Default: 500 ms.
    pub hello: Duration,
    /// From sending a batch to its replies, or to another sign that the node leads. A leader that is paused keeps its
    /// TCP connection, so that only silence tells; after half of this it is asked. Default: 1 s, about as long as an
    /// election takes; other replies that come meanwhile count as well.
    pub reply: Duration,
    /// The first attempt of a read; each that gets no answer in time doubles it. Default: 1.5 s.
    pub read_attempt: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            hello: Duration::from_millis(500),
            reply: Duration::from_secs(1),
            read_attempt: Duration::from_millis(1_500),
        }
    }
}

/// How often a command is sent to a shard that says it is overloaded, the first time included.
const OVERLOADED_ATTEMPTS_MAX: u32 = 3;

/// How often a command is sent to a shard that says it needs the log, the first time included. The second time it goes
/// through the log, unless its campaign was reopened and closed in between.
const LOG_ATTEMPTS_MAX: u32 = 8;

/// The shortest pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause between two attempts: short, so that a new leader is found soon after its
/// election, and long enough that waiting costs a shard a handful of calls a second.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How one attempt of a command ended without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// The node did not propose it: it does not lead the shard.
    NotLeader,
    /// The node did not propose it: its queue is full.
    Overloaded,
    /// The node did not propose it: by its clock the caller is gone.
    Expired,
    /// The node did not propose it: it hoped to answer it without the log.
    NeedsLog,
    /// The node proposed it and lost sight of it, or the stream broke, or no reply came in time.
    Unknown,
}

/// Why a command got no outcome before its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nobody was found who leads the shard; surely nothing happened.
    NoLeader,
    /// The shard, or the router in front of it, had too much to do; surely nothing happened.
    Overloaded,
    /// The shard has two histories and is stopped; surely nothing happened.
    ShardDiverged,
    /// It may have happened.
    OutcomeUnknown,
}

/// What is known of the attempts of one command so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    maybe_proposed: bool,
    overloads: u32,
    log_needs: u32,
    last_overloaded: bool,
}

impl Attempts {
    /// Records a miss. `Some` says that there is no further attempt.
    pub(crate) fn missed(&mut self, miss: Miss, budget: &mut RetryBudget) -> Option<Unanswered> {
        self.last_overloaded = miss == Miss::Overloaded;
        match miss {
            Miss::NotLeader | Miss::Expired => None,
            Miss::NeedsLog => {
                self.log_needs += 1;
                // As below.
                let allowed = self.maybe_proposed || self.log_needs < LOG_ATTEMPTS_MAX;
                if allowed { None } else { Some(Unanswered::Overloaded) }
            }
            Miss::Unknown => {
                self.maybe_proposed = true;
                None
            }
            Miss::Overloaded => {
                self.overloads += 1;
                // Only another attempt can still tell what came of one that may have been proposed,
                // so such a command goes on until its deadline.
                let allowed = self.maybe_proposed
                    || (self.overloads < OVERLOADED_ATTEMPTS_MAX && budget.spend());
                if allowed { None } else { Some(Unanswered::Overloaded) }
            }
        }
    }

    /// Whether the next attempt waits, after a miss that was recorded. A command that needs the log is sent again at
    /// once, but only once.
    pub(crate) fn waits_after(self, miss: Miss) -> bool {
        match miss {
            Miss::Expired => false,
            Miss::NeedsLog => self.log_needs > 1,
            Miss::NotLeader | Miss::Overloaded | Miss::Unknown => true,
        }
    }

    /// The error for a shard that is stopped for good.
    pub(crate) fn diverged(self) -> Unanswered {
        if self.maybe_proposed { Unanswered::OutcomeUnknown } else { Unanswered::ShardDiverged }
    }

    /// What to say when time is up, or when no further attempt is wanted.
    pub(crate) fn unanswered(self) -> Unanswered {
        if self.maybe_proposed {
            Unanswered::OutcomeUnknown
        } else if self.last_overloaded {
            Unanswered::Overloaded
        } else {
            Unanswered::NoLeader
        }
    }
}

/// Keeps retries into an overloaded shard below a tenth of its answered commands.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    tenths: u32,
}

impl RetryBudget {
    /// A full budget, so that a short overload at the start is ridden out: 100 retries.
    const TENTHS_MAX: u32 = 1_000;

    /// What one retry costs.
    const TENTHS_PER_RETRY: u32 = 10;

    /// A budget that allows no retry.
    pub(crate) fn empty() -> Self {
        Self { tenths: 0 }
    }

    /// An answered command earns a tenth of a retry.
    pub(crate) fn earn(&mut self) {
        self.tenths = (self.tenths + 1).min(Self::TENTHS_MAX);
    }

    fn spend(&mut self) -> bool {
        match self.tenths.checked_sub(Self::TENTHS_PER_RETRY) {
            Some(rest) => {
                self.tenths = rest;
                true
            }
            None => false,
        }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { tenths: Self::TENTHS_MAX }
    }
}

/// How long to wait after so many misses in a row: nothing after the first one when it came with a
/// leader's name, else a random time that doubles from 10 up to 100 ms. `jitter` is in 0..1.
pub(crate) fn pause(misses: u32, leader_named: bool, jitter: f64) -> Duration {
    if leader_named && misses <= 1 {
        return Duration::ZERO;
    }
    let ceiling = (PAUSE_MIN * 2u32.saturating_pow(misses.clamp(1, 5))).min(PAUSE_MAX);
    PAUSE_MIN + (ceiling - PAUSE_MIN).mul_f64(jitter.clamp(0.0, 1.0))
}

/// The epoch a shard is at, when it refused only because the command or question was routed by another
/// one: it may go to the owner, as if it had never been sent.
pub(crate) fn reroutes(refusal: &Refusal) -> Option<Epoch> {
    let rerouted = matches!(refusal.reason(), RefusalReason::StaleEpoch | RefusalReason::NotOwner);
    rerouted.then_some(Epoch(refusal.epoch))
}

/// Whether a read that failed with this code may succeed elsewhere or later. Reads change nothing, so
/// only an answer that would be the same everywhere ends them.
pub(crate) fn read_is_retriable(code: Code) -> bool {
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::ResourceExhausted => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaderless_commands_are_retried_until_the_deadline() {
        let (mut attempts, mut budget) = (Attempts::default(), RetryBudget::default());
        for _ in 0..10_000 {
            assert_eq!(attempts.missed(Miss::NotLeader, &mut budget), None);
        }
        assert_eq!(attempts.unanswered(), Unanswered::NoLeader);
    }

    #[test]
    fn one_unknown_attempt_makes_the_outcome_unknown_for_good() {
        let (mut attempts, mut budget) = (Attempts::default(), RetryBudget::default());
        assert_eq!(attempts.missed(Miss::Unknown, &mut budget), None);
        for miss in [Miss::NotLeader, Miss::Expired, Miss::Overloaded, Miss::Overloaded] {
            assert_eq!(attempts.missed(miss, &mut budget), None);
            assert_eq!(attempts.unanswered(), Unanswered::OutcomeUnknown);
        }
    }

    #[test]
    fn overloaded_commands_are_sent_three_times() {
        let (mut attempts, mut budget) = (Attempts::default(), RetryBudget::default());
        assert_eq!(attempts.missed(Miss::Overloaded, &mut budget), None);
        assert_eq!(attempts.missed(Miss::Overloaded, &mut budget), None);
        let end = attempts.missed(Miss::Overloaded, &mut budget);
        assert_eq!(end, Some(Unanswered::Overloaded));
        assert_eq!(attempts.unanswered(), Unanswered::Overloaded);
    }

    #[test]
    fn commands_that_need_the_log_are_sent_again_at_once_and_then_a_few_times() {
        let (mut attempts, mut budget) = (Attempts::default(), RetryBudget::default());
        for sent in 1..LOG_ATTEMPTS_MAX {
            assert_eq!(attempts.missed(Miss::NeedsLog, &mut budget), None);
            assert_eq!(attempts.waits_after(Miss::NeedsLog), sent > 1);
        }
        let end = attempts.missed(Miss::NeedsLog, &mut budget);
        assert_eq!(end, Some(Unanswered::Overloaded));
        attempts.missed(Miss::Unknown, &mut budget);
        assert_eq!(attempts.missed(Miss::NeedsLog, &mut budget), None, "it may be in the log");
        assert_eq!(attempts.unanswered(), Unanswered::OutcomeUnknown);
    }

    #[test]
    fn an_empty_budget_allows_no_retry_until_answers_earn_one() {
        let mut budget = RetryBudget::empty();
        let retry = |budget: &mut RetryBudget| Attempts::default().missed(Miss::Overloaded, budget);
        assert_eq!(retry(&mut budget), Some(Unanswered::Overloaded));
        (0..10).for_each(|_| budget.earn());
        assert_eq!(retry(&mut budget), None);
        assert_eq!(retry(&mut budget), Some(Unanswered::Overloaded));
    }

    #[test]
    fn pauses_stay_within_their_bounds() {
        for misses in 0..40 {
            assert_eq!(pause(misses, false, 0.0), PAUSE_MIN);
            let longest = pause(misses, false, 1.0);
            assert!((PAUSE_MIN..=PAUSE_MAX).contains(&longest), "{misses}: {longest:?}");
        }
        assert_eq!(pause(40, false, 1.0), PAUSE_MAX);
        assert_eq!(pause(1, true, 1.0), Duration::ZERO);
        assert!(pause(2, true, 0.0) >= PAUSE_MIN, "two nodes that name each other do not spin");
    }
}
