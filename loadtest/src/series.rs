//! What happened when: counts and latency of each slot of time, for pictures.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told from longer ones, in microseconds: an hour.
pub(crate) const LATENCY_MAX_US: u64 = 3_600_000_000;

/// How long a slot is while the run is short.
const SLOT_SHORT_MS: u32 = 100;

/// How long a slot is in a run of more than [`SHORT_SECONDS`], so that an hour has 3,600 slots.
const SLOT_LONG_MS: u32 = 1_000;

/// Up to how many seconds a run is short.
const SHORT_SECONDS: u64 = 600;

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// The digits that latencies within a slot are precise to, 1 to 5.
const DIGITS: u8 = 2;

/// A slot. Calls are counted in that slot in which they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Slot {
    /// When it begins, in milliseconds since the load began.
    pub at_ms: u64,
    /// Calls that were sent.
    pub sent: u32,
    /// Coupons that were answered.
    pub issued: u32,
    /// Refusals that are due: sold out, limit reached, not started, ended.
    pub refused: u32,
    /// All other ends: errors, and calls given up.
    pub failed: u32,
    /// The median latency in microseconds; 0 if nothing ended.
    pub p50_us: u64,
    /// The latency of 99 % of the calls.
    pub p99_us: u64,
    /// The longest latency.
    pub max_us: u64,
}

/// All slots of a run. An hour takes 200 KB.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    slot_ms: u32,
    began: u64,
    done: Vec<Slot>,
    current: Slot,
    latency: Histogram<u32>,
}

/// How a call ended, as far as pictures are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Issued,
    Refused,
    Failed,
}

impl Series {
    /// A series that begins at `began` nanoseconds, for a run of about `seconds`.
    pub(crate) fn new(began: u64, seconds: Option<u64>) -> Self {
        let is_short = seconds.is_some_and(|seconds| seconds <= SHORT_SECONDS);
        let slot_ms = if is_short { SLOT_SHORT_MS } else { SLOT_LONG_MS };
        let latency = Histogram::new_with_max(LATENCY_MAX_US, DIGITS);
        let latency = latency.expect("the bound and the digits are in range");
        Self { slot_ms, began, done: Vec::new(), current: Slot::default(), latency }
    }

    /// How long a slot is.
    pub(crate) fn slot_ms(&self) -> u32 {
        self.slot_ms
    }

    /// Counts coupons that were asked for.
    pub(crate) fn sent(&mut self, at: u64, count: u32) {
        self.advance(at);
        self.current.sent += count;
    }

    /// Counts a call that ended.
    pub(crate) fn ended(&mut self, at: u64, ending: Ending, latency_us: u64) {
        self.advance(at);
        match ending {
            Ending::Issued => self.current.issued += 1,
            Ending::Refused => self.current.refused += 1,
            Ending::Failed => self.current.failed += 1,
        }
        self.latency.saturating_record(latency_us);
    }

    /// Closes slots that are over. What is told a little too late is counted a slot too late.
    fn advance(&mut self, at: u64) {
        let millis = at.saturating_sub(self.began) / MILLISECOND;
        let slot_ms = u64::from(self.slot_ms);
        while millis >= self.current.at_ms + slot_ms {
            let next = self.current.at_ms + slot_ms;
            self.close();
            self.current = Slot { at_ms: next, ..Slot::default() };
        }
    }

    fn close(&mut self) {
        let mut slot = self.current;
        if !self.latency.is_empty() {
            slot.p50_us = self.latency.value_at_quantile(0.5);
            slot.p99_us = self.latency.value_at_quantile(0.99);
            slot.max_us = self.latency.max();
            self.latency.reset();
        }
        self.done.push(slot);
    }

    /// All slots up to the last one in which something happened.
    pub(crate) fn finish(mut self) -> Vec<Slot> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_its_own_counts() {
        let mut series = Series::new(5 * MILLISECOND, Some(10));
        let at = |millis: u64| (5 + millis) * MILLISECOND;
        series.sent(at(0), 1);
        series.ended(at(99), Ending::Issued, 1_000);
        series.ended(at(99), Ending::Issued, 3_000);
        series.ended(at(350), Ending::Refused, 10);
        series.ended(at(340), Ending::Failed, 20);
        let slots = series.finish();
        let counts: Vec<_> =
            slots.iter().map(|slot| (slot.at_ms, slot.issued, slot.refused, slot.failed)).collect();
        assert_eq!(counts, [(0, 2, 0, 0), (100, 0, 0, 0), (200, 0, 0, 0), (300, 0, 1, 1)]);
        assert_eq!(slots[0].sent, 1);
        assert!((1_000..1_020).contains(&slots[0].p50_us), "{}", slots[0].p50_us);
        assert!((3_000..3_060).contains(&slots[0].max_us), "{}", slots[0].max_us);
        assert_eq!((slots[1].p50_us, slots[3].max_us), (0, 20));
    }

    #[test]
    fn long_runs_have_long_slots() {
        assert_eq!(Series::new(0, Some(600)).slot_ms(), 100);
        assert_eq!(Series::new(0, Some(601)).slot_ms(), 1_000);
        assert_eq!(Series::new(0, None).slot_ms(), 1_000);
    }
}
