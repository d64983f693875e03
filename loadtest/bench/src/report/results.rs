//! All samples of a run, and what is derived of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::cell::{Cell, Load, Sample, System};
use crate::report::fit::CostModel;

/// The samples of all cells, one per round.
#[derive(Debug, Default)]
pub(crate) struct Results {
    samples: BTreeMap<Cell, Vec<Sample>>,
}

/// Median and extremes of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The value in the middle; of an even number, the mean of the two.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        if min < max {
            write!(f, "{median:.2} ({min:.2}–{max:.2})")
        } else {
            write!(f, "{median:.2}")
        }
    }
}

impl Results {
    /// Adds the sample of a further round.
    pub(crate) fn add(&mut self, cell: Cell, sample: Sample) {
        self.samples.entry(cell).or_default().push(sample);
    }

    /// The cells in order, each with its samples.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (Cell, &[Sample])> {
        self.samples.iter().map(|(cell, samples)| (*cell, samples.as_slice()))
    }

    /// The samples of a cell, one per round.
    pub(crate) fn samples(&self, cell: Cell) -> &[Sample] {
        self.samples.get(&cell).map_or(&[], Vec::as_slice)
    }

    /// A value of the samples of a cell.
    pub(crate) fn spread(&self, cell: Cell, value: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples(cell).iter().map(value).collect())
    }

    /// How many times as large a value is in one cell as in another, round by round.
    pub(crate) fn ratio(
        &self,
        one: Cell,
        other: Cell,
        value: impl Fn(&Sample) -> f64,
    ) -> Option<Spread> {
        let pairs = self.samples(one).iter().zip(self.samples(other));
        Spread::of(pairs.map(|(one, other)| value(one) / value(other)).collect())
    }

    /// What a coupon and a log entry cost, fitted over all unary loads and rounds.
    pub(crate) fn cost_model(&self) -> Option<CostModel> {
        CostModel::fit(&self.cost_points())
    }

    /// Log entries per coupon and CPU per coupon in microseconds, of all unary loads and rounds.
    pub(crate) fn cost_points(&self) -> Vec<(f64, f64)> {
        let is_wanted = |cell: Cell| (cell.load, cell.system) == (Load::Unary, System::Coupon);
        let samples = self.cells().filter(|(cell, _)| is_wanted(*cell));
        samples
            .flat_map(|(_, samples)| samples)
            .filter_map(|sample| {
                Some((sample.commands_per_entry()?.recip(), sample.cpu_us_total()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.to_vec()).unwrap();
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(spread(&[4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
