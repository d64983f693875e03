//! Regular work of many shards, all of it due at the same moments: a thread then wakes once for all of them.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Where the ticks of this process begin.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Ticks at multiples of `interval`, which is not zero, from a moment that all callers share. Those that are missed are
/// left out.
pub(crate) fn ticks(interval: Duration) -> Interval {
    let now = Instant::now();
    let passed = now.saturating_duration_since(*ORIGIN).as_nanos() % interval.as_nanos();
    let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));
    let mut ticks = interval_at(now + interval.saturating_sub(passed), interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_ticks_of_an_interval_are_due_together() {
        let interval = Duration::from_millis(100);
        let mut first = ticks(interval);
        tokio::time::advance(Duration::from_millis(30)).await;
        let mut second = ticks(interval);
        assert_eq!(first.tick().await, second.tick().await);
        tokio::time::advance(Duration::from_millis(250)).await;
        first.tick().await;
        second.tick().await;
        assert_eq!(first.tick().await, second.tick().await, "also after some were missed");
    }
}
