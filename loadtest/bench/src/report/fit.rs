//! The cost model: CPU per coupon is a constant, plus the cost of a log entry shared by its commands.

use std::fmt;

use serde::Serialize;

/// Minimum spread of the entries per coupon, as a part of their mean: with less the noise decides.
const SPREAD_MIN: f64 = 0.05;

/// Result of the least squares fit of `cost = per_coupon + per_entry * entries_per_coupon`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CostModel {
    /// CPU of one coupon over all roles, in microseconds.
    pub(crate) per_coupon_us: f64,
    /// CPU of one log entry over all roles, in microseconds.
    pub(crate) per_entry_us: f64,
    /// Largest deviation of a measured cost from the model, as a part of it.
    pub(crate) deviation_max: f64,
}

impl CostModel {
    /// What a coupon costs that takes so much of a log entry, in microseconds.
    pub(crate) fn cost_us(&self, entries_per_coupon: f64) -> f64 {
        self.per_coupon_us + self.per_entry_us * entries_per_coupon
    }

    /// Fits pairs of log entries per coupon and CPU per coupon in microseconds. `None` when the loads do
    /// not differ enough to tell the two costs apart.
    #[expect(clippy::cast_precision_loss, reason = "a few points")]
    pub(crate) fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let squares: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let products: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let spread = (squares / count).sqrt() / mean_x;
        // Without points the spread is not a number, and smaller than nothing.
        if spread.is_nan() || spread < SPREAD_MIN {
            return None;
        }
        let per_entry_us = products / squares;
        let per_coupon_us = mean_y - per_entry_us * mean_x;
        let model = Self { per_coupon_us, per_entry_us, deviation_max: 0.0 };
        let deviation = |(x, y): &(f64, f64)| (model.cost_us(*x) / y - 1.0).abs();
        Some(Self { deviation_max: points.iter().map(deviation).fold(0.0, f64::max), ..model })
    }
}

impl fmt::Display for CostModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CPU over all roles, load generator included: {:.1} µs per coupon + {:.2} ms per log entry \
             (samples deviate by up to {:.0} %)",
            self.per_coupon_us,
            self.per_entry_us / 1e3,
            self.deviation_max * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_costs_are_found_again() {
        let points =
            [24.0, 88.0, 330.0].map(|commands: f64| (1.0 / commands, 68.0 + 1_850.0 / commands));
        let model = CostModel::fit(&points).unwrap();
        assert!((model.per_coupon_us - 68.0).abs() < 1e-6, "{model:?}");
        assert!((model.per_entry_us - 1_850.0).abs() < 1e-6, "{model:?}");
        assert!(model.deviation_max < 1e-9, "{model:?}");
    }

    #[test]
    fn equal_loads_tell_nothing() {
        assert_eq!(CostModel::fit(&[]), None);
        assert_eq!(CostModel::fit(&[(0.1, 3.0), (0.1, 4.0)]), None);
    }
}
