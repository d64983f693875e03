//! The times that a leader stamps its entries with, and those that it answers reads at.
//!
//! A read shows the applied state at a time that may be past that of the last entry, since log time stands still while
//! nothing is written. It must be a moment that the log has as well: between the entries that the state has and the
//! next one. So a read is at no later time than an entry that is on its way, which may still confirm a hold or redeem a
//! coupon before its end; and no later entry is stamped with an earlier time than a read had. From one leader to the
//! next that holds as far as their clocks agree.

use std::sync::Arc;

use coupon_ledger::LogTime;
use parking_lot::Mutex;

use crate::clock::TrustedClock;

/// Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    clock: TrustedClock,
    given: Arc<Mutex<Given>>,
}

#[derive(Debug, Default)]
struct Given {
    /// The latest time, of an entry or a read.
    last_micros: u64,
    /// The stamps of entries without an outcome: at most as many as there may be in flight, and the next one.
    in_flight: Vec<u64>,
}

/// The stamp of an entry, which is in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Stamp {
    /// Microseconds since 1970.
    pub(super) micros: u64,
    all: Stamps,
}

impl Stamps {
    pub(super) fn new(clock: TrustedClock) -> Self {
        Self { clock, given: Arc::default() }
    }

    /// The stamp of an entry that is made now, no earlier than any time before; `None` while the clock is not trusted.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let mut given = self.given.lock();
        let micros = given.advance(&self.clock)?;
        given.in_flight.push(micros);
        Some(Stamp { micros, all: self.clone() })
    }

    /// The time of an entry if it were made now, in microseconds since 1970; `None` while the clock is not trusted.
    pub(super) fn now_micros(&self) -> Option<u64> {
        self.given.lock().advance(&self.clock)
    }

    /// The time of a read that comes now: no later than any entry in flight, no earlier than any read before. The state
    /// that the read shows must be looked at afterwards. While the clock is not trusted, time stands still.
    pub(super) fn read_time(&self) -> LogTime {
        let mut given = self.given.lock();
        let now = given.advance(&self.clock).unwrap_or(given.last_micros);
        LogTime(given.in_flight.iter().copied().min().unwrap_or(now))
    }
}

impl Given {
    fn advance(&mut self, clock: &TrustedClock) -> Option<u64> {
        self.last_micros = self.last_micros.max(clock.stamp_micros()?);
        Some(self.last_micros)
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        let in_flight = &mut self.all.given.lock().in_flight;
        if let Some(place) = in_flight.iter().position(|stamp| *stamp == self.micros) {
            in_flight.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coupon_env::SettableClock;

    use super::*;

    fn stamps() -> (SettableClock, Stamps) {
        let wall = SettableClock::default();
        (wall.clone(), Stamps::new(TrustedClock::trusted(Arc::new(wall))))
    }

    #[test]
    fn a_read_is_at_no_later_time_than_an_entry_in_flight() {
        let (wall, stamps) = stamps();
        wall.set_micros(10);
        let first = stamps.stamp().unwrap();
        wall.set_micros(20);
        let second = stamps.stamp().unwrap();
        wall.set_micros(30);
        assert_eq!((first.micros, second.micros), (10, 20));
        assert_eq!((stamps.read_time(), stamps.now_micros()), (LogTime(10), Some(30)));
        drop(first);
        assert_eq!(stamps.read_time(), LogTime(20));
        drop(second);
        assert_eq!(stamps.read_time(), LogTime(30));
    }

    #[test]
    fn entries_of_one_microsecond_are_in_flight_each() {
        let (wall, stamps) = stamps();
        wall.set_micros(10);
        let both = [stamps.stamp().unwrap(), stamps.stamp().unwrap()];
        wall.set_micros(20);
        let [first, second] = both;
        drop(first);
        assert_eq!(stamps.read_time(), LogTime(10));
        drop(second);
        assert_eq!(stamps.read_time(), LogTime(20));
    }

    #[test]
    fn a_clock_that_is_set_back_moves_neither_reads_nor_entries_back() {
        let (wall, stamps) = stamps();
        wall.set_micros(20);
        assert_eq!(stamps.read_time(), LogTime(20));
        wall.set_micros(10);
        assert_eq!(stamps.read_time(), LogTime(20));
        assert_eq!(stamps.stamp().unwrap().micros, 20);
    }

    #[test]
    fn time_stands_still_while_the_clock_is_not_trusted() {
        let clock = TrustedClock::new(Arc::new(SettableClock::default()), Duration::ZERO);
        let stamps = Stamps::new(clock);
        assert!(stamps.stamp().is_none() && stamps.now_micros().is_none());
        assert_eq!(stamps.read_time(), LogTime(0));
    }
}
