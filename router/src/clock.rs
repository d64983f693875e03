//! Wall-clock time, injected so that tests can say what time it is.
//!
//! The router decides nothing by this clock. It tells nodes when a caller stops waiting, and it
//! judges the state of records that come without a log time. Log time decides everything else.

use std::time::{Duration, SystemTime};

/// A source of wall-clock time.
#[derive(Debug, Clone, Copy)]
pub struct WallClock(fn() -> SystemTime);

impl WallClock {
    /// A clock that asks `now`.
    #[must_use]
    pub fn new(now: fn() -> SystemTime) -> Self {
        Self(now)
    }

    /// Microseconds since 1970; 0 for any time before.
    pub(crate) fn micros(self) -> u64 {
        let since_1970 =
            (self.0)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Default for WallClock {
    /// The system's clock.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}
