//! The figures that are demanded, and whether they are reached.

use std::fmt;

use serde::Serialize;

use crate::cell::{Cell, ColdSample, Latency, Load, Sample, System};
use crate::plan::{BATCHES_IN_FLIGHT, HOT_IN_FLIGHT, IN_FLIGHT, IN_FLIGHT_USUAL, coupon, unary};
use crate::report::results::{Results, Spread};

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Demand {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

/// A demanded figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// The name of the demand.
    pub(crate) name: &'static str,
    /// What is compared with what.
    pub(crate) what: String,
    /// The figure over the rounds.
    pub(crate) value: Spread,
    /// What its median must be.
    pub(crate) demand: Demand,
    /// Whether it is.
    pub(crate) is_met: bool,
}

impl Figure {
    /// `None` if the figure was not measured.
    pub(crate) fn new(
        name: &'static str,
        what: impl Into<String>,
        value: Option<Spread>,
        demand: Demand,
    ) -> Option<Self> {
        let value = value?;
        let is_met = match demand {
            Demand::AtLeast(bound) => value.median >= bound,
            Demand::AtMost(bound) => value.median <= bound,
        };
        Some(Self { name, what: what.into(), value, demand, is_met })
    }
}

/// Ratios to the echo that are demanded of unary calls, by calls in flight.
const OVER_ECHO: [(usize, f64); 3] = [(64, 0.45), (256, 0.65), (1_024, 0.75)];

/// Ratios to the proxy.
const OVER_PROXY: [(usize, f64); 2] = [(256, 1.5), (1_024, 2.0)];

/// Ratios to Redis.
const OVER_REDIS: [(usize, f64); 2] = [(64, 1.0), (256, 1.2)];

/// Ratios to etcd.
const OVER_ETCD: [(usize, f64); 1] = [(256, 6.0)];

/// All figures that were measured.
pub(crate) fn of(results: &Results) -> Vec<Figure> {
    let all = [
        over_peers(results),
        batches(results),
        latency(results),
        refusals(results),
        cold(results),
        cost(results),
    ];
    all.into_iter().flatten().flatten().collect()
}

type Found = Vec<Option<Figure>>;

fn over_peers(results: &Results) -> Found {
    let over = |name, peer: System, (in_flight, bound): (usize, f64)| {
        let (ours, theirs) = (unary(System::Coupon, in_flight), unary(peer, in_flight));
        let ratio = results.ratio(ours, theirs, per_second);
        Figure::new(name, format!("unary over {peer} @{in_flight}"), ratio, Demand::AtLeast(bound))
    };
    let redis = OVER_REDIS.into_iter().map(|demand| over("P3", System::Redis, demand));
    let etcd = OVER_ETCD.into_iter().map(|demand| over("P4", System::Etcd, demand));
    let echo = OVER_ECHO.into_iter().map(|demand| over("P1", System::Echo, demand));
    let proxy = OVER_PROXY.into_iter().map(|demand| over("P2", System::Proxy, demand));
    echo.chain(proxy).chain(redis).chain(etcd).collect()
}

fn per_second(sample: &Sample) -> f64 {
    sample.per_second
}

fn batches(results: &Results) -> Found {
    let batch = coupon(Load::Batch, BATCHES_IN_FLIGHT);
    let ratio = results.ratio(batch, unary(System::Echo, IN_FLIGHT_USUAL), per_second);
    let p99 = results.spread(batch, |sample| sample.p99_ms);
    vec![
        Figure::new("P5", "batches of 256 over echo @256", ratio, Demand::AtLeast(4.0)),
        Figure::new("P5", "p99 of a batch, ms", p99, Demand::AtMost(80.0)),
    ]
}

fn latency(results: &Results) -> Found {
    let open = coupon(Load::Open, IN_FLIGHT_USUAL);
    let quantile = |what: &str, of: fn(&Sample) -> f64, bound| {
        let what = format!("{what} at half of peak, open loop, ms");
        Figure::new("P6", what, results.spread(open, of), Demand::AtMost(bound))
    };
    vec![
        quantile("p50", |sample| sample.p50_ms, 2.5),
        quantile("p99", |sample| sample.p99_ms, 8.0),
        quantile("p99.9", |sample| sample.p99_9_ms, 20.0),
    ]
}

fn refusals(results: &Results) -> Found {
    let peak = |round: usize| {
        let cells = IN_FLIGHT.map(|in_flight| unary(System::Coupon, in_flight));
        let rates =
            cells.iter().filter_map(|cell| Some(results.samples(*cell).get(round)?.per_second));
        rates.fold(None, |top: Option<f64>, rate| Some(top.map_or(rate, |top| top.max(rate))))
    };
    let over_peak = |cell: Cell| {
        let rounds = results.samples(cell).iter().enumerate();
        Spread::of(rounds.filter_map(|(round, one)| Some(one.per_second / peak(round)?)).collect())
    };
    #[expect(clippy::cast_precision_loss, reason = "log entries of some seconds")]
    let entries = |sample: &Sample| sample.log_entries.unwrap_or_default() as f64;
    let both = [Load::SoldOut, Load::NotStarted].into_iter().flat_map(|load| {
        let cell = coupon(load, IN_FLIGHT_USUAL);
        let over = format!("{load} over unary peak");
        [
            Figure::new("P7", over, over_peak(cell), Demand::AtLeast(1.2)),
            Figure::new(
                "P7",
                format!("log entries of {load}"),
                results.spread(cell, entries),
                Demand::AtMost(0.0),
            ),
        ]
    });
    both.collect()
}

fn cold(results: &Results) -> Found {
    let (beside, alone) = (coupon(Load::Cold, HOT_IN_FLIGHT), coupon(Load::ColdAlone, 0));
    let pairs = || results.samples(beside).iter().zip(results.samples(alone));
    let part = |of: fn(&ColdSample) -> &Latency| {
        let p99 = |sample: &Sample| sample.cold.as_ref().map(|cold| of(cold).p99_ms);
        let ratio = |(beside, alone)| Some(p99(beside)? / p99(alone)?);
        Spread::of(pairs().filter_map(ratio).collect())
    };
    let all = results.ratio(beside, alone, |sample| sample.p99_ms);
    let parts = [
        ("p99 of 999 cold campaigns, beside a hot one over alone", all),
        ("… of those on the hot one's shard", part(|cold| &cold.hot_shard)),
        ("… of those on other shards", part(|cold| &cold.other_shards)),
    ];
    parts.map(|(what, ratio)| Figure::new("P11", what, ratio, Demand::AtMost(2.0))).into()
}

fn cost(results: &Results) -> Found {
    let model = results.cost_model();
    let constant = |value: Option<f64>| value.and_then(|value| Spread::of(vec![value]));
    let per_coupon = constant(model.map(|model| model.per_coupon_us));
    let per_entry = constant(model.map(|model| model.per_entry_us / 1e3));
    let echo = results.spread(unary(System::Echo, IN_FLIGHT_USUAL), Sample::cpu_us_total);
    let echo = echo.map_or_else(String::new, |echo| format!(" (echo @256: {:.1})", echo.median));
    vec![
        Figure::new("P14", format!("CPU per coupon, µs{echo}"), per_coupon, Demand::AtMost(25.0)),
        Figure::new("P14", "CPU per log entry, ms", per_entry, Demand::AtMost(0.5)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sample(per_second: f64) -> Sample {
        Sample {
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            p99_9_ms: 3.0,
            count: 1_000,
            client_busy: 0.5,
            cpu_us: BTreeMap::new(),
            switches: BTreeMap::new(),
            log_entries: None,
            cold: None,
        }
    }

    fn results(samples: &[(Cell, f64)]) -> Results {
        let mut results = Results::default();
        samples.iter().for_each(|(cell, per_second)| results.add(*cell, sample(*per_second)));
        results
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let (ours, echo) = (unary(System::Coupon, 64), unary(System::Echo, 64));
        // The machine is half as fast in the second round.
        let measured = [(echo, 100.0), (ours, 50.0), (echo, 50.0), (ours, 21.0)];
        let figures = of(&results(&measured));
        assert_eq!(figures.len(), 1, "{figures:?}");
        let figure = &figures[0];
        assert_eq!((figure.name, &*figure.what), ("P1", "unary over echo @64"));
        assert!((figure.value.median - 0.46).abs() < 1e-9 && figure.is_met, "{figure:?}");
        assert_eq!(figure.value.to_string(), "0.46 (0.42–0.50)");
    }

    #[test]
    fn cold_campaigns_are_compared_by_their_latency() {
        let mut results = Results::default();
        let latency = |p99_ms| Latency { per_second: 100.0, p50_ms: 1.0, p99_ms };
        let cold = |hot_shard, other_shards| ColdSample {
            hot_shard: latency(hot_shard),
            other_shards: latency(other_shards),
            hot_per_second: 0.0,
        };
        let alone = Sample { cold: Some(cold(2.0, 2.0)), ..sample(1_000.0) };
        results.add(coupon(Load::ColdAlone, 0), alone);
        let slow = Sample { p99_ms: 3.0, cold: Some(cold(5.0, 2.5)), ..sample(1_000.0) };
        results.add(coupon(Load::Cold, HOT_IN_FLIGHT), slow);
        let figures = of(&results);
        let found: Vec<_> = figures.iter().map(|one| (one.name, one.is_met)).collect();
        assert_eq!(found, [("P11", true), ("P11", false), ("P11", true)], "{figures:?}");
        for (figure, expected) in figures.iter().zip([1.5, 2.5, 1.25]) {
            assert!((figure.value.median - expected).abs() < 1e-9, "{figure:?}");
        }
    }

    #[test]
    fn refusals_are_compared_with_the_best_load_of_their_round() {
        let refusal = coupon(Load::SoldOut, IN_FLIGHT_USUAL);
        let (few, many) = (unary(System::Coupon, 64), unary(System::Coupon, 1_024));
        let figures = of(&results(&[(few, 10.0), (many, 20.0), (refusal, 22.0)]));
        let figure = figures.iter().find(|figure| figure.what.contains("over unary peak"));
        let figure = figure.unwrap();
        assert!((figure.value.median - 1.1).abs() < 1e-9 && !figure.is_met, "{figure:?}");
    }
}
