//! The two clocks of a run, read together once.
//!
//! What is recorded is in nanoseconds of a monotonic clock since the recording began, which is what
//! the checker compares. The wall clock at that moment is kept, so that start times of campaigns can
//! be placed on the same axis and files can be put next to logs.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The clocks of a run. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    began_at: SystemTime,
}

impl Clock {
    /// Begins a recording now.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now(), began_at: SystemTime::now() }
    }

    /// Nanoseconds since the recording began.
    #[must_use]
    pub fn now(&self) -> u64 {
        nanos(self.began.elapsed())
    }

    /// The wall clock when the recording began.
    #[must_use]
    pub fn began_at(&self) -> SystemTime {
        self.began_at
    }

    /// The moment `nanos` nanoseconds after the beginning.
    pub(crate) fn instant(&self, nanos: u64) -> Instant {
        self.began + Duration::from_nanos(nanos)
    }

    /// What the wall clock says then, unless it is set meanwhile.
    pub(crate) fn wall(&self, nanos: u64) -> SystemTime {
        self.began_at + Duration::from_nanos(nanos)
    }

    /// Where a wall-clock time lies; 0 if before the beginning.
    #[must_use]
    pub fn of_wall(&self, time: SystemTime) -> u64 {
        time.duration_since(self.began_at).map_or(0, nanos)
    }
}

/// A duration in nanoseconds; 584 years at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_and_monotonic_times_are_translated() {
        let clock = Clock::start();
        assert_eq!(clock.of_wall(clock.wall(1_500)), 1_500);
        assert_eq!(clock.of_wall(clock.began_at() - Duration::from_secs(1)), 0);
        assert_eq!(clock.instant(2_000) - clock.instant(500), Duration::from_nanos(1_500));
    }
}
