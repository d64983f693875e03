//! How long a call is repeated, and at which pauses. Pure: time and jitter are passed in.

use std::time::Duration;

/// Shortest timeout that can be sent.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Minimum time that must be left for a repetition. A router answers a tenth before the end of an attempt; a
/// shorter attempt could end without an answer, and make an outcome unknown that is known.
const REPETITION_MIN: Duration = Duration::from_millis(100);

/// Maximum number of times that a pause is doubled; more would overflow before it is bounded.
const DOUBLINGS_MAX: u32 = 16;

/// How long a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Timeout of one attempt. A router tries for as long itself, an election included.
    pub attempt_timeout: Duration,
    /// Maximum time for all attempts of a call together.
    pub give_up_after: Duration,
    /// Pause before the first repetition; each further one is twice as long.
    pub backoff_min: Duration,
    /// Longest pause, unless the server asks for a longer one.
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(5),
            give_up_after: Duration::from_secs(30),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// The timeout of the next attempt of a call that has `left` of its time.
    #[must_use]
    pub fn timeout(&self, left: Duration) -> Duration {
        self.attempt_timeout.min(left).max(TIMEOUT_MIN)
    }

    /// Whether a call that has `left` of its time can be repeated after `pause`.
    #[must_use]
    pub fn has_time(&self, left: Duration, pause: Duration) -> bool {
        left.saturating_sub(pause) >= REPETITION_MIN
    }
}

/// The pauses between the attempts of one call.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    repetitions: u32,
}

impl Backoff {
    /// Before the first attempt.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, repetitions: 0 }
    }

    /// The pause before the next attempt. `retry_after` is what the server asks for at least; `jitter` is
    /// random, from 0 to 1, so that calls that failed together do not come back together.
    pub fn pause(&mut self, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let doublings = self.repetitions.min(DOUBLINGS_MAX);
        self.repetitions = self.repetitions.saturating_add(1);
        let usual = self.policy.backoff_min.saturating_mul(1 << doublings);
        // Up to half is left out.
        let usual = usual.min(self.policy.backoff_max).mul_f64(0.5 + jitter / 2.0);
        // Up to half is added: the server meant this long.
        let asked = retry_after.map(|delay| delay.saturating_add((delay / 2).mul_f64(jitter)));
        asked.map_or(usual, |asked| asked.max(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempt_timeout: 1_000 * MS,
            give_up_after: 5_000 * MS,
            backoff_min: 20 * MS,
            backoff_max: 320 * MS,
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        for (jitter, of_usual) in [(0.0, 0.5), (1.0, 1.0)] {
            let mut backoff = Backoff::new(policy());
            for usual in [20, 40, 80, 160, 320, 320, 320] {
                let pause = backoff.pause(None, jitter);
                assert_eq!(pause, Duration::from_millis(usual).mul_f64(of_usual));
            }
        }
    }

    #[test]
    fn the_server_is_never_asked_earlier_than_it_says() {
        for jitter in [0.0, 0.3, 1.0] {
            let pause = Backoff::new(policy()).pause(Some(500 * MS), jitter);
            assert!((500 * MS..=750 * MS).contains(&pause), "{pause:?}");
        }
        // A short delay is no reason to be faster than usual.
        let mut backoff = Backoff::new(policy());
        let pauses: Vec<Duration> = (0..6).map(|_| backoff.pause(Some(MS), 1.0)).collect();
        assert_eq!(pauses.last(), Some(&(320 * MS)));
    }

    #[test]
    fn no_value_overflows() {
        let policy = RetryPolicy { backoff_min: Duration::MAX, backoff_max: MS, ..policy() };
        let mut backoff = Backoff::new(policy);
        for _ in 0..100 {
            assert!(backoff.pause(None, 1.0) <= MS);
        }
        assert_eq!(backoff.pause(Some(Duration::MAX), 1.0), Duration::MAX);
    }

    #[test]
    fn an_attempt_ends_with_the_call() {
        let policy = policy();
        assert_eq!(policy.timeout(5_000 * MS), 1_000 * MS);
        assert_eq!(policy.timeout(300 * MS), 300 * MS);
        assert_eq!(policy.timeout(Duration::ZERO), TIMEOUT_MIN);
        assert!(policy.has_time(300 * MS, 100 * MS));
        assert!(!policy.has_time(300 * MS, 250 * MS));
        assert!(!policy.has_time(300 * MS, 400 * MS));
    }
}
