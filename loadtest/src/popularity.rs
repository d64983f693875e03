//! Which campaign a call is for. Pure.

use std::fmt;
use std::str::FromStr;

/// The largest exponent of [`Popularity::Zipf`]: with it, 65,535 of 65,536 calls go to the first.
const EXPONENT_MAX: f64 = 16.0;

/// How load is spread over campaigns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Popularity {
    /// Each campaign gets the same.
    #[default]
    Uniform,
    /// The k-th campaign gets a share proportional to 1/k^s. With s = 1, of ten campaigns the first
    /// gets a third.
    Zipf(f64),
}

impl fmt::Display for Popularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// A text that is no [`Popularity`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be uniform or zipf:S with S from 0 to 16, such as zipf:1.1")]
pub struct NoPopularity;

impl FromStr for Popularity {
    type Err = NoPopularity;

    fn from_str(text: &str) -> Result<Self, NoPopularity> {
        if text == "uniform" {
            return Ok(Self::Uniform);
        }
        let exponent = text.strip_prefix("zipf:").and_then(|exponent| exponent.parse().ok());
        let in_range = |exponent: &f64| (0.0..=EXPONENT_MAX).contains(exponent);
        exponent.filter(in_range).map(Self::Zipf).ok_or(NoPopularity)
    }
}

/// Picks campaigns by their popularity.
#[derive(Clone, Debug)]
pub(crate) struct Picker {
    /// For each campaign the share of all up to it; the last one is 1.
    cumulative: Vec<f64>,
}

impl Picker {
    /// For a number of campaigns, at least one.
    pub(crate) fn new(popularity: Popularity, campaigns: usize) -> Self {
        let mut total = 0.0;
        let mut cumulative: Vec<f64> = (1..=campaigns.max(1))
            .map(|rank| {
                total += weight(popularity, rank);
                total
            })
            .collect();
        for share in &mut cumulative {
            *share /= total;
        }
        Self { cumulative }
    }

    /// The campaign, from 0, at a point between 0 (included) and 1 (excluded).
    pub(crate) fn pick(&self, point: f64) -> usize {
        let found = self.cumulative.partition_point(|share| *share <= point);
        found.min(self.cumulative.len() - 1)
    }
}

#[expect(clippy::cast_precision_loss, reason = "campaigns are far fewer than 2^52")]
fn weight(popularity: Popularity, rank: usize) -> f64 {
    match popularity {
        Popularity::Uniform => 1.0,
        Popularity::Zipf(exponent) => (rank as f64).powf(-exponent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of `campaigns` is picked by a thousand evenly spread points.
    fn counts(popularity: Popularity, campaigns: usize) -> Vec<u32> {
        let picker = Picker::new(popularity, campaigns);
        let mut counts = vec![0; campaigns];
        for point in 0..1_000 {
            counts[picker.pick((f64::from(point) + 0.5) / 1_000.0)] += 1;
        }
        counts
    }

    #[test]
    fn shares_are_as_the_law_says() {
        assert_eq!(counts(Popularity::Uniform, 4), [250, 250, 250, 250]);
        assert_eq!(counts(Popularity::Zipf(0.0), 4), [250, 250, 250, 250]);
        // 1 + 1/2 + 1/3 + 1/4 = 25/12.
        assert_eq!(counts(Popularity::Zipf(1.0), 4), [480, 240, 160, 120]);
        assert_eq!(counts(Popularity::Zipf(16.0), 3), [1_000, 0, 0]);
        assert_eq!(counts(Popularity::Uniform, 1), [1_000]);
    }

    #[test]
    fn every_point_has_a_campaign() {
        let picker = Picker::new(Popularity::Zipf(1.3), 3);
        assert_eq!((picker.pick(0.0), picker.pick(1.0)), (0, 2));
    }

    #[test]
    fn popularity_is_written_as_it_is_read() {
        for text in ["uniform", "zipf:0", "zipf:1.1", "zipf:16"] {
            assert_eq!(text.parse::<Popularity>().unwrap().to_string(), text);
        }
        for wrong in ["", "zipf", "zipf:", "zipf:-1", "zipf:17", "zipf:NaN", "even"] {
            assert_eq!(wrong.parse::<Popularity>(), Err(NoPopularity), "{wrong}");
        }
    }
}
