//! The time of day.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of the time of day. It may be wrong and may jump: nothing about it is to be trusted alone.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Microseconds since 1970.
    fn now_micros(&self) -> u64;
}

/// The system's clock; a time before 1970 counts as 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is set. Clones are one clock.
#[derive(Clone, Debug, Default)]
pub struct SettableClock(Arc<AtomicU64>);

impl SettableClock {
    /// Sets the time: microseconds since 1970.
    pub fn set_micros(&self, micros: u64) {
        self.0.store(micros, Ordering::Relaxed);
    }
}

impl Clock for SettableClock {
    fn now_micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2020-01-01T00:00:00Z.
    const YEAR_2020_MICROS: u64 = 1_577_836_800_000_000;

    #[test]
    fn the_system_tells_microseconds() {
        let now = SystemClock.now_micros();
        assert!((YEAR_2020_MICROS..10 * YEAR_2020_MICROS).contains(&now), "{now}");
    }

    #[test]
    fn clones_are_one_clock() {
        let clock = SettableClock::default();
        let copy = clock.clone();
        assert_eq!(copy.now_micros(), 0);
        clock.set_micros(7);
        assert_eq!(copy.now_micros(), 7);
    }
}
