//! What came of the steps: as text, as JSON and as a page.

use std::path::Path;

use serde::Serialize;

use super::plot;
use super::step::{GROUPS, IN_FLIGHT, Step, Steps};
use crate::machine::conditions::Conditions;
use crate::report::figures::{Demand, Figure};
use crate::report::page::Page;
use crate::report::results::Spread;
use crate::report::{CLIENT_BUSY_MAX, table, verdict, write};

/// Part of linear growth that is demanded.
const DEMAND: Demand = Demand::AtLeast(0.9);

/// Part of the time in which every node must have used up its share: otherwise it was not the bottleneck.
const AT_LIMIT_MIN: f64 = 0.9;

/// Part of all processors' time that must have been left over: without it, processes waited for each other, and
/// not for their limits.
const IDLE_MIN: f64 = 0.1;

/// Part of linear growth beyond which one shard group alone was slower than its node's share allows: the limit was
/// not the bottleneck there, and its throughput is no measure for more groups.
const LINEAR_MAX: f64 = 1.05;

/// Columns of the table of steps.
const HEADER: [&str; 11] = [
    "shard groups",
    "coupons a second",
    "of linear",
    "p50 ms",
    "p99 ms",
    "share used",
    "at limit, least",
    "share used, meta",
    "router busy",
    "client busy",
    "machine idle",
];

/// What came of a run, for programs: fields are only ever added.
#[derive(Debug, Serialize)]
pub(crate) struct ScaleReport {
    /// Under what conditions it was made.
    pub(crate) conditions: Conditions,
    /// Percent of a processor that each node could use.
    pub(crate) share_percent: u16,
    /// Calls in flight on each shard.
    pub(crate) in_flight_per_group: usize,
    /// Why its figures may mislead.
    pub(crate) warnings: Vec<String>,
    /// The demanded figures.
    pub(crate) figures: Vec<Figure>,
    /// All steps, one per round, by number of shard groups.
    pub(crate) steps: Steps,
    /// Wrong answers and failed calls. With any, the figures mean nothing.
    pub(crate) faults: Vec<String>,
}

impl ScaleReport {
    /// Derives the report from the steps.
    pub(crate) fn new(
        conditions: Conditions,
        share_percent: u16,
        steps: Steps,
        faults: Vec<String>,
    ) -> Self {
        let mut warnings = conditions.warnings();
        warnings.extend(steps.iter().flat_map(|(groups, rounds)| bottlenecks(*groups, rounds)));
        let (figures, in_flight_per_group) = (figures(&steps), IN_FLIGHT);
        warnings.extend(figures.iter().filter_map(beyond_linear));
        Self { conditions, share_percent, in_flight_per_group, warnings, figures, steps, faults }
    }

    /// The report for people, all but the conditions.
    pub(crate) fn text(&self) -> String {
        let mut table = table::plain();
        table.set_header(HEADER);
        table.add_rows(self.rows());
        let mut text = format!("\n{}\n\n{table}\n", self.setting());
        if !self.figures.is_empty() {
            text.push_str(&format!("\n{}\n", table::figures(&self.figures)));
        }
        text.push_str(&verdict(&self.warnings, &self.faults));
        text
    }

    /// Writes `scale.json` and `scale.html` to a directory, which is made if it is not there.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let notes = self.faults.iter().chain(&self.warnings);
        let mut page = Page::new("Coupon: shard groups", &self.conditions, notes);
        page.figures(&self.figures);
        page.heading("Measurements");
        page.paragraph(&self.setting());
        page.table(&HEADER, self.rows());
        page.plot(&plot::throughput(&self.steps)?);
        page.paragraph(
            "Medians over the rounds; in brackets and as bars the extremes. A part of linear is taken in each \
             round, and the median is of the parts.",
        );
        write(dir, "scale", self, &page.end())
    }

    fn setting(&self) -> String {
        format!(
            "Each node has the one replica of one shard and may use {} % of a processor, as may one more node for \
             the meta shard; {} calls are in flight on each shard.",
            self.share_percent, self.in_flight_per_group
        )
    }

    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.steps.iter().map(|(groups, rounds)| {
            let spread = |value: fn(&Step) -> f64| spread(rounds, value);
            let shown = |value: fn(&Step) -> f64, digits: usize| {
                spread(value)
                    .map_or_else(String::new, |spread| format!("{:.digits$}", spread.median))
            };
            let part = part_of_linear(&self.steps, *groups);
            vec![
                groups.to_string(),
                spread(|step| step.per_second).map_or_else(String::new, table::rates),
                part.map_or_else(String::new, |part| part.to_string()),
                shown(|step| step.p50_ms, 1),
                shown(|step| step.p99_ms, 1),
                shown(Step::share_used_mean, 2),
                shown(Step::at_limit_min, 2),
                shown(|step| step.meta_share_used, 2),
                shown(|step| step.router_busy, 2),
                shown(|step| step.client_busy, 2),
                shown(|step| step.idle, 2),
            ]
        })
    }
}

/// A value of all rounds.
pub(super) fn spread(rounds: &[Step], value: impl Fn(&Step) -> f64) -> Option<Spread> {
    Spread::of(rounds.iter().map(value).collect())
}

fn figures(steps: &Steps) -> Vec<Figure> {
    let parts = GROUPS.into_iter().filter(|groups| *groups > 1).map(|groups| {
        let what = format!("{groups} shard groups over {groups} times one");
        Figure::new("P10", what, part_of_linear(steps, groups), DEMAND)
    });
    let what = "slope: what a further shard group adds, over one";
    parts.chain([Figure::new("P10", what, slope(steps), DEMAND)]).flatten().collect()
}

/// Throughput over that of one shard group times their number, round by round.
fn part_of_linear(steps: &Steps, groups: u32) -> Option<Spread> {
    let pairs = steps.get(&groups)?.iter().zip(steps.get(&1)?);
    let part = |(step, one): (&Step, &Step)| step.per_second / one.per_second / f64::from(groups);
    Spread::of(pairs.map(part).collect())
}

/// Slope of the line through all steps of a round by least squares, over the throughput of one shard group.
/// `None` without several steps.
#[expect(clippy::cast_precision_loss, reason = "a few points")]
fn slope(steps: &Steps) -> Option<Spread> {
    if steps.len() < 2 {
        return None;
    }
    let rounds = steps.values().map(Vec::len).min()?;
    let slopes = (0..rounds).map(|round| {
        let points: Vec<(f64, f64)> = steps
            .iter()
            .map(|(groups, steps)| (f64::from(*groups), steps[round].per_second))
            .collect();
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let squares: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let products: f64 = points.iter().map(|(x, y)| (x - mean_x) * y).sum();
        Some(products / squares / steps.get(&1)?[round].per_second)
    });
    Spread::of(slopes.flatten().collect())
}

/// Why growth that is more than linear misleads.
fn beyond_linear(figure: &Figure) -> Option<String> {
    let part = figure.value.median;
    (part > LINEAR_MAX).then(|| {
        format!(
            "{}: {part:.2} of linear: something other than its share limited one shard group",
            figure.what
        )
    })
}

/// What else than the nodes may have limited a step.
fn bottlenecks(groups: u32, rounds: &[Step]) -> Vec<String> {
    let median = |value: fn(&Step) -> f64| spread(rounds, value).map(|spread| spread.median);
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let busy = |who: &str, part: Option<f64>| {
        let part = part.filter(|part| *part > CLIENT_BUSY_MAX)?;
        Some(format!("the {who} used {} of a processor: it may be the bottleneck", percent(part)))
    };
    let idle = median(|step| step.idle).filter(|idle| *idle < IDLE_MIN);
    let at_limit = median(Step::at_limit_min).filter(|part| *part < AT_LIMIT_MIN);
    let found = [
        busy("load generator", median(|step| step.client_busy)),
        busy("router", median(|step| step.router_busy)),
        idle.map(|idle| {
            format!("the machine was saturated: {} of its time was left", percent(idle))
        }),
        at_limit.map(|part| {
            format!(
                "a node used up its share in only {} of the time: it was not the bottleneck",
                percent(part)
            )
        }),
    ];
    found.into_iter().flatten().map(|what| format!("{groups} shard groups: {what}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(per_second: f64) -> Step {
        Step {
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            count: 1,
            share_used: vec![1.0, 0.95],
            at_limit: vec![1.0, 0.95],
            meta_share_used: 0.5,
            router_busy: 0.5,
            client_busy: 0.5,
            idle: 0.5,
        }
    }

    #[test]
    fn growth_is_judged_round_by_round() {
        // The machine is half as fast in the second round.
        let rates = [(1, [10.0, 5.0]), (2, [20.0, 10.0]), (4, [40.0, 20.0]), (8, [64.0, 32.0])];
        let steps: Steps =
            rates.into_iter().map(|(groups, rates)| (groups, rates.map(step).to_vec())).collect();
        let figures = figures(&steps);
        let medians: Vec<f64> = figures.iter().map(|figure| figure.value.median).collect();
        for (median, expected) in medians.iter().zip([1.0, 1.0, 0.8]) {
            assert!((median - expected).abs() < 1e-9, "{medians:?}");
        }
        assert!((0.7..0.8).contains(&medians[3]), "{medians:?}");
        let met: Vec<bool> = figures.iter().map(|figure| figure.is_met).collect();
        assert_eq!(met, [true, true, false, false]);
    }

    #[test]
    fn linear_growth_has_a_slope_of_one() {
        let steps: Steps =
            GROUPS.map(|groups| (groups, vec![step(f64::from(groups) * 7.0)])).into();
        assert!((slope(&steps).unwrap().median - 1.0).abs() < 1e-9);
        assert_eq!(slope(&[(1, vec![step(1.0)])].into()), None);
    }

    #[test]
    fn growth_beyond_linear_is_a_warning() {
        let steps = |last: f64| -> Steps {
            [(1, vec![step(10.0)]), (2, vec![step(20.0)]), (4, vec![step(last)])].into()
        };
        let warnings =
            |last| figures(&steps(last)).iter().filter_map(beyond_linear).collect::<Vec<_>>();
        assert!(warnings(41.0).is_empty());
        let found = warnings(44.0);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("4 shard groups over 4 times one: 1.10 of linear"),
            "{found:?}"
        );
        assert!(found[1].starts_with("slope: "), "{found:?}");
    }

    #[test]
    fn other_bottlenecks_are_named() {
        assert!(bottlenecks(8, &[step(1.0)]).is_empty());
        let all = Step {
            at_limit: vec![1.0, 0.5],
            router_busy: 0.9,
            client_busy: 0.9,
            idle: 0.02,
            ..step(1.0)
        };
        let found = bottlenecks(8, &[all]);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().all(|one| one.starts_with("8 shard groups: ")), "{found:?}");
    }
}
