//! What a load brought: counts and latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Longest latency that is told apart, in microseconds: no cell lasts longer.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Precision of latencies: three digits.
const LATENCY_DIGITS: u8 = 3;

/// The part of a load whose calls are measured. Calls before it warm up connections and caches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// When it begins.
    pub(crate) begin: Instant,
    /// When it ends, and sending with it.
    pub(crate) end: Instant,
}

impl Window {
    /// A window of a length, after a time to warm up.
    pub(crate) fn after(warm_up: Duration, length: Duration) -> Self {
        let begin = Instant::now() + warm_up;
        Self { begin, end: begin + length }
    }

    fn contains(self, moment: Instant) -> bool {
        (self.begin..self.end).contains(&moment)
    }

    fn seconds(self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }
}

/// Counts of one load.
#[derive(Debug)]
pub(crate) struct Tally {
    window: Window,
    latency_us: Histogram<u64>,
    measured: u64,
    all: u64,
    faults: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new(window: Window) -> anyhow::Result<Self> {
        let latency_us = Histogram::new_with_max(LATENCY_MAX_US, LATENCY_DIGITS)?;
        Ok(Self { window, latency_us, measured: 0, all: 0, faults: BTreeMap::new() })
    }

    /// Notes a call that brought `units` of work. It is measured if its answer came in the window.
    pub(crate) fn note(&mut self, sent: Instant, answered: Instant, units: u64) {
        self.record(self.window.contains(answered), answered - sent, units);
    }

    /// Notes a call of an open loop. It is measured if it was due in the window, so that the slowest calls
    /// are not left out.
    pub(crate) fn note_due(&mut self, due: Instant, answered: Instant, units: u64) {
        self.record(self.window.contains(due), answered - due, units);
    }

    fn record(&mut self, is_measured: bool, latency: Duration, units: u64) {
        self.all += units;
        if is_measured {
            self.measured += units;
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            self.latency_us.saturating_record(micros);
        }
    }

    /// Notes a call that failed.
    pub(crate) fn note_fault(&mut self, fault: String) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// This load and another one in the same window as one.
    pub(crate) fn with(mut self, other: &Self) -> anyhow::Result<Self> {
        self.latency_us.add(&other.latency_us)?;
        self.measured += other.measured;
        self.all += other.all;
        for (fault, count) in &other.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
        Ok(self)
    }

    /// Units of work from the first to the last call.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// Units of work per second, in the window.
    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds fit into 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.measured as f64 / self.window.seconds()
    }

    /// A quantile of the latencies in the window, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a minute fit into 2^52")]
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Calls that failed, with how often.
    pub(crate) fn faults(&self) -> impl Iterator<Item = String> {
        self.faults.iter().map(|(fault, count)| format!("{count} calls failed: {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_is_measured_and_all_is_counted() {
        let window = Window::after(Duration::from_secs(1), Duration::from_secs(2));
        let mut tally = Tally::new(window).unwrap();
        let ms = Duration::from_millis;
        tally.note(window.begin - ms(20), window.begin - ms(1), 1);
        tally.note(window.begin - ms(1), window.begin + ms(2), 5);
        tally.note(window.end - ms(9), window.end, 7);
        assert_eq!(tally.all(), 13);
        assert!((tally.per_second() - 2.5).abs() < 1e-9);
        assert!((tally.latency_ms(0.5) - 3.0).abs() < 0.01);
    }

    #[test]
    fn two_loads_count_as_one() {
        let window = Window::after(Duration::from_secs(1), Duration::from_secs(2));
        let (mut one, mut other) = (Tally::new(window).unwrap(), Tally::new(window).unwrap());
        let ms = Duration::from_millis;
        one.note_due(window.begin, window.begin + ms(2), 1);
        other.note_due(window.begin, window.begin + ms(8), 3);
        other.note_fault("no answer".to_owned());
        let both = one.with(&other).unwrap();
        assert_eq!(both.all(), 4);
        assert!((both.per_second() - 2.0).abs() < 1e-9);
        assert!((both.latency_ms(0.5) - 2.0).abs() < 0.01);
        assert!((both.latency_ms(1.0) - 8.0).abs() < 0.01);
        assert_eq!(both.faults().count(), 1);
    }

    #[test]
    fn a_call_of_an_open_loop_counts_where_it_was_due() {
        let window = Window::after(Duration::from_secs(1), Duration::from_secs(2));
        let mut tally = Tally::new(window).unwrap();
        let ms = Duration::from_millis;
        tally.note_due(window.begin - ms(1), window.begin + ms(2), 1);
        tally.note_due(window.end - ms(1), window.end + ms(8), 1);
        assert!((tally.per_second() - 0.5).abs() < 1e-9);
        assert!((tally.latency_ms(1.0) - 9.0).abs() < 0.01);
    }
}
