//! The table of cold campaigns: what they felt of a hot one, on its shard and on others.

use crate::cell::{Latency, Load, Sample};
use crate::plan::{HOT_IN_FLIGHT, coupon};
use crate::report::results::{Results, Spread};
use crate::report::table::rates;

/// Columns of the table.
pub(super) const HEADER: [&str; 6] =
    ["cold campaigns", "of them", "calls a second", "p50 ms", "p99 ms", "hot coupons a second"];

/// Its rows; none if cold campaigns were not measured.
pub(super) fn rows(results: &Results) -> Vec<Vec<String>> {
    let cells = [coupon(Load::ColdAlone, 0), coupon(Load::Cold, HOT_IN_FLIGHT)];
    let rows = cells.into_iter().flat_map(|cell| {
        let samples = results.samples(cell);
        let hot = samples.iter().filter_map(|sample| Some(sample.cold.as_ref()?.hot_per_second));
        let hot = Spread::of(hot.collect()).map_or_else(String::new, rates);
        let parts = [
            ("all", latencies(samples, |sample| Some(all(sample)))),
            (
                "on the hot one's shard",
                latencies(samples, |sample| Some(sample.cold.as_ref()?.hot_shard.clone())),
            ),
            (
                "on other shards",
                latencies(samples, |sample| Some(sample.cold.as_ref()?.other_shards.clone())),
            ),
        ];
        parts.into_iter().filter_map(move |(part, latencies)| {
            let median = |value: fn(&Latency) -> f64, digits: usize| {
                let spread = Spread::of(latencies.iter().map(value).collect())?;
                Some(format!("{:.digits$}", spread.median))
            };
            Some(vec![
                cell.load.to_string(),
                part.to_owned(),
                median(|one| one.per_second, 0)?,
                median(|one| one.p50_ms, 2)?,
                median(|one| one.p99_ms, 2)?,
                hot.clone(),
            ])
        })
    });
    rows.collect()
}

fn latencies(samples: &[Sample], of: impl Fn(&Sample) -> Option<Latency>) -> Vec<Latency> {
    samples.iter().filter_map(of).collect()
}

fn all(sample: &Sample) -> Latency {
    Latency { per_second: sample.per_second, p50_ms: sample.p50_ms, p99_ms: sample.p99_ms }
}
