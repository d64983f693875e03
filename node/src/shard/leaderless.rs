//! How long a follower has heard no leader, and when the log says so: less and less often.

use std::time::{Duration, Instant};

/// Election timeouts without a leader after which the log says so for the first time. Usually one is enough to elect
/// another one.
pub(super) const TIMEOUTS_MIN: u32 = 4;
/// Interval at which it is said at last.
const INTERVAL_MAX: Duration = Duration::from_mins(5);

/// Watches whether a leader is heard.
#[derive(Debug, Default)]
pub(super) struct Leaderless {
    since: Option<Instant>,
    said: Option<Duration>,
}

impl Leaderless {
    /// Looks whether a leader is heard. Returns for how long none was, if that is to be said: first after `patience`, then
    /// after twice as long, and so on.
    pub(super) fn look(
        &mut self,
        is_heard: bool,
        patience: Duration,
        now: Instant,
    ) -> Option<Duration> {
        if is_heard {
            *self = Self::default();
            return None;
        }
        let without = now.saturating_duration_since(*self.since.get_or_insert(now));
        let due = self.said.map_or(patience, |said| (2 * said).min(said + INTERVAL_MAX));
        if without < due.max(patience) {
            return None;
        }
        self.said = Some(without);
        Some(without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_less_and_less_often_until_a_leader_is_heard() {
        let (mut leaderless, start) = (Leaderless::default(), Instant::now());
        let patience = Duration::from_secs(3);
        let mut look = |second: u64, is_heard| {
            leaderless.look(is_heard, patience, start + Duration::from_secs(second))
        };
        assert_eq!(look(0, true), None);
        let said: Vec<u64> =
            (1..1_000).filter_map(|second| look(second, false)).map(|d| d.as_secs()).collect();
        assert_eq!(said, [3, 6, 12, 24, 48, 96, 192, 384, 684, 984]);
        assert_eq!(look(1_000, true), None);
        let again = (1_001..1_010).find(|second| look(*second, false).is_some());
        assert_eq!(again, Some(1_004));
    }
}
