//! When calls are to be sent. Pure: the same arguments give the same times.

use std::time::Duration;

use crate::clock::nanos;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Number of callers of a stampede of which one cannot wait: small enough that an opening that is too
/// early is noticed, large enough that the crowd still comes at once.
const EARLY_ONE_IN: u32 = 10;

/// How long before the start the first of them call.
pub const EARLY_LEAD: Duration = Duration::from_millis(500);

/// Arrivals at an even rate, from 0 on, in nanoseconds: independent of what is answered, which is
/// what makes a loop open.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    /// How many items a second.
    rate: u32,
    /// How many items come with one arrival.
    batch: u32,
    /// The number of the next arrival.
    next: u64,
    /// Arrivals before this time only.
    until: u64,
}

impl Arrivals {
    /// `rate` items a second, `batch` of them at a time, for `duration`; `None`: for ever.
    pub(crate) fn new(rate: u32, batch: u32, duration: Option<Duration>) -> Self {
        Self { rate, batch, next: 0, until: duration.map_or(u64::MAX, nanos) }
    }

    /// The time of the next arrival; `None` when all have come.
    pub(crate) fn peek(&self) -> Option<u64> {
        if self.rate == 0 {
            return None;
        }
        // In 128 bits, so that no run is too long for it.
        let items = u128::from(self.next) * u128::from(self.batch);
        let time = items * u128::from(SECOND) / u128::from(self.rate);
        u64::try_from(time).ok().filter(|time| *time < self.until)
    }

    /// How many arrivals have not come by now; `None` if there is no end.
    pub(crate) fn left(&self) -> Option<u64> {
        if self.rate == 0 {
            return Some(0);
        }
        if self.until == u64::MAX {
            return None;
        }
        // The number of arrivals k with k * batch * SECOND / rate < until, rounded as in `peek`.
        let (until, rate) = (u128::from(self.until), u128::from(self.rate));
        let total = (until * rate).div_ceil(u128::from(self.batch) * u128::from(SECOND));
        Some(u64::try_from(total).unwrap_or(u64::MAX).saturating_sub(self.next))
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let time = self.peek()?;
        self.next += 1;
        Some(time)
    }
}

/// When the callers of a stampede call, in order: most of them exactly at `start`, one in
/// [`EARLY_ONE_IN`] evenly spread over [`EARLY_LEAD`] before it.
pub(crate) fn stampede(callers: u32, start: u64) -> impl Iterator<Item = u64> {
    let early = callers / EARLY_ONE_IN;
    let lead = nanos(EARLY_LEAD).min(start);
    (0..callers).map(move |caller| {
        let left = u64::from(early.saturating_sub(caller));
        start - lead * left / u64::from(early.max(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rate: u32, batch: u32, millis: u64) -> Vec<u64> {
        Arrivals::new(rate, batch, Some(Duration::from_millis(millis))).collect()
    }

    #[test]
    fn arrivals_are_even() {
        assert_eq!(all(4, 1, 1_000), [0, 250_000_000, 500_000_000, 750_000_000]);
        assert_eq!(all(4, 2, 1_000), [0, 500_000_000]);
        assert_eq!(all(3, 1, 1_000), [0, 333_333_333, 666_666_666]);
        assert!(all(0, 1, 1_000).is_empty());
        assert!(all(7, 1, 0).is_empty());
    }

    #[test]
    fn rates_do_not_drift() {
        let times = all(2_000, 1, 3_600_000);
        assert_eq!(times.len(), 7_200_000);
        assert_eq!(times[7_199_999], 3_600 * SECOND - 500_000);
    }

    #[test]
    fn what_is_left_is_what_still_comes() {
        for (rate, batch, millis) in [(4, 1, 1_000), (3, 1, 1_000), (7, 3, 999), (1_000, 9, 1_234)]
        {
            let mut arrivals = Arrivals::new(rate, batch, Some(Duration::from_millis(millis)));
            let total = u64::try_from(arrivals.clone().count()).unwrap();
            assert_eq!(arrivals.left(), Some(total), "{rate} {batch} {millis}");
            arrivals.next();
            assert_eq!(arrivals.left(), Some(total - 1));
        }
        assert_eq!(Arrivals::new(5, 1, None).left(), None);
        assert_eq!(Arrivals::new(0, 1, None).left(), Some(0));
    }

    #[test]
    fn some_cannot_wait_for_the_start() {
        let start = 5 * SECOND;
        let times: Vec<u64> = stampede(1_000, start).collect();
        assert_eq!(times.len(), 1_000);
        assert!(times.is_sorted());
        assert_eq!(times[0], start - nanos(EARLY_LEAD));
        assert_eq!(times.iter().filter(|time| **time < start).count(), 100);
        assert_eq!(times.iter().filter(|time| **time == start).count(), 900);
        assert_eq!(stampede(5, start).filter(|time| *time == start).count(), 5);
        assert_eq!(stampede(10, 100).next(), Some(0), "nobody calls before the beginning");
    }
}
