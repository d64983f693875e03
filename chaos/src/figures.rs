//! Figures of several measurements. Pure.

use serde::Serialize;

/// Percentiles by nearest rank: each is one that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The median.
    pub p50: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Figures {
    /// `None` if there are no measurements.
    #[must_use]
    pub fn of(mut measured: Vec<f64>) -> Option<Self> {
        measured.sort_unstable_by(f64::total_cmp);
        let count = measured.len();
        let at = |percent: usize| measured[(count * percent).div_ceil(100).max(1) - 1];
        (count > 0).then(|| Self { p50: at(50), p99: at(99), max: at(100) })
    }
}

/// Nanoseconds as milliseconds, to the microsecond.
#[expect(clippy::cast_precision_loss, reason = "whole microseconds of some years fit into 2^52")]
pub(crate) fn millis(nanos: u64) -> f64 {
    (nanos / 1_000) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements() {
        let of = |count: u32| Figures::of((1..=count).rev().map(f64::from).collect()).unwrap();
        assert_eq!(of(1), Figures { p50: 1.0, p99: 1.0, max: 1.0 });
        assert_eq!(of(5), Figures { p50: 3.0, p99: 5.0, max: 5.0 });
        assert_eq!(of(200), Figures { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Figures::of(Vec::new()), None);
    }
}
