//! What came of a run: for programs one JSON document, to which fields are only ever added; for people
//! a table.

use std::fmt::Write as _;

use coupon_checker::Verdict;
use serde::Serialize;

use super::run::Incident;
use crate::calls::{Asked, Ending};
use crate::figures::{Figures, millis};
use crate::load_report::LoadReport;
use crate::recovery::Successes;
use crate::report::Circumstances;

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether every promise was kept, every cut was made, every node came back by itself, and no call was
    /// refused for a reason that the API does not promise. Not so where nothing was judged.
    pub is_ok: bool,
    /// Under what conditions.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// The number of cuts that were planned.
    pub planned: u32,
    /// The number of cuts that were made.
    pub cuts: u32,
    /// How many of them met nodes that started after another one.
    pub cuts_while_starting: u32,
    /// Why the plan was not carried out to its end.
    pub aborted: Option<String>,
    /// What was not as it should be, besides the verdict.
    pub missed: Vec<String>,
    /// The rounds, by how many nodes lost their power at once, the most first.
    pub by_nodes: Vec<NodesReport>,
    /// The load.
    pub load: LoadReport,
    /// Calls that were refused for no reason that the API promises.
    pub failed: u64,
    /// Calls whose outcome is not known.
    pub unknown: u64,
    /// Calls that had to be sent more than once.
    pub repeated: u64,
    /// The number of replicas that were compared at the end.
    pub replicas: usize,
    /// What the checker says; `None` where nothing was judged.
    pub verdict: Option<Verdict>,
    /// Why nothing was judged.
    pub not_judged: Option<String>,
}

/// The rounds in which a number of nodes lost their power at once. Times are in milliseconds, from the
/// start of the last node.
#[derive(Clone, Debug, Serialize)]
pub struct NodesReport {
    /// The number of nodes.
    pub nodes: usize,
    /// The number of rounds.
    pub rounds: usize,
    /// Until every shard had answered with a coupon a call that was sent after that.
    pub issued_again_after_ms: Option<Figures>,
    /// Until every node took part in every shard again; late by up to 150 ms.
    pub whole_after_ms: Option<Figures>,
}

/// What a report is made of.
pub struct Material {
    /// Under what conditions.
    pub circumstances: Circumstances,
    /// The number of cuts that were planned.
    pub planned: u32,
    /// Why the plan was not carried out to its end.
    pub aborted: Option<String>,
    /// The rounds that had their turn.
    pub incidents: Vec<Incident>,
    /// The shards that own campaigns.
    pub shards: Vec<u32>,
    /// All calls for coupons.
    pub calls: Vec<Asked>,
    /// The load.
    pub load: LoadReport,
    /// The number of replicas that were compared.
    pub replicas: usize,
    /// What the checker says, and which campaigns are not as they were created; or why nothing was judged.
    pub judged: Result<(Verdict, Vec<String>), String>,
}

impl Report {
    /// The report of a run.
    #[must_use]
    pub fn new(material: Material) -> Self {
        let Material { circumstances, planned, aborted, load, replicas, .. } = material;
        let Material { incidents, shards, calls, judged, .. } = material;
        let successes = Successes::of(shards, calls.iter().filter_map(Asked::success));
        let count = |is_meant: fn(&Asked) -> bool| {
            u64::try_from(calls.iter().filter(|call| is_meant(call)).count()).unwrap_or(u64::MAX)
        };
        let failed = count(|call| call.ending == Ending::Failed);
        let cuts: u32 = incidents.iter().map(|incident| incident.round.cuts()).sum();
        let rounds = u32::try_from(incidents.len()).unwrap_or(u32::MAX);
        let most = incidents.iter().map(|incident| incident.round.nodes_max()).max().unwrap_or(0);
        let by_nodes =
            (1..=most).rev().map(|nodes| NodesReport::new(nodes, &incidents, &successes));
        let mut missed = Vec::new();
        if failed > 0 {
            missed.push(format!("{failed} calls were refused for no reason that the API promises"));
        }
        if cuts < planned {
            missed.push(format!("only {cuts} of {planned} cuts were made"));
        }
        let (verdict, not_judged) = match judged {
            Ok((verdict, changed)) => {
                missed.extend(changed);
                (Some(verdict), None)
            }
            Err(why) => (None, Some(why)),
        };
        let is_kept = verdict.as_ref().is_some_and(Verdict::is_ok);
        Self {
            is_ok: is_kept && missed.is_empty() && aborted.is_none(),
            circumstances,
            planned,
            cuts,
            cuts_while_starting: cuts - rounds,
            aborted,
            missed,
            by_nodes: by_nodes.filter(|one| one.rounds > 0).collect(),
            load,
            failed,
            unknown: count(|call| call.ending == Ending::Unknown),
            repeated: count(|call| call.attempts > 1),
            replicas,
            verdict,
            not_judged,
        }
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Circumstances { rate, campaigns, shards, nodes, cores, load_average, .. } =
            &self.circumstances;
        let average =
            load_average.map(|load| load.map_or("?".to_owned(), |load| format!("{load:.1}")));
        writeln!(
            text,
            "{} of {} power cuts in {:.0} s, {} of them while nodes started; {rate} calls a second, \
             {campaigns} campaigns at a time, {shards} shards, {nodes} nodes",
            self.cuts, self.planned, self.load.elapsed_seconds, self.cuts_while_starting
        )?;
        writeln!(
            text,
            "machine: {cores} cores for everything, load average {} before and {} after\n",
            average[0], average[1]
        )?;
        writeln!(
            text,
            "{:>24}{:^28}{:^28}",
            "", "all shards issue after ms", "all nodes back after ms"
        )?;
        writeln!(
            text,
            "{:<16}{:>8}{:>10}{:>9}{:>9}{:>10}{:>9}{:>9}",
            "nodes at once", "rounds", "p50", "p99", "max", "p50", "p99", "max"
        )?;
        for one in &self.by_nodes {
            let [p50, p99, max] = cells(one.issued_again_after_ms);
            let [whole_p50, whole_p99, whole_max] = cells(one.whole_after_ms);
            writeln!(
                text,
                "{:<16}{:>8}{p50:>10}{p99:>9}{max:>9}{whole_p50:>10}{whole_p99:>9}{whole_max:>9}",
                one.nodes, one.rounds
            )?;
        }
        let LoadReport { sent, issued, latency, .. } = &self.load;
        writeln!(
            text,
            "\n{sent} calls, {issued} coupons, {} unknown outcomes, {} calls repeated, {} failed; longest \
             call {:.0} ms; {} replicas compared\n",
            self.unknown, self.repeated, self.failed, latency.max_ms, self.replicas
        )?;
        match (&self.verdict, &self.not_judged) {
            (Some(verdict), _) => write!(text, "{verdict}")?,
            (None, why) => {
                let why = why.as_deref().unwrap_or("the reason is not known");
                writeln!(text, "NOTHING WAS JUDGED: {why}")?;
            }
        }
        if let Some(why) = &self.aborted {
            writeln!(text, "the plan was not carried out to its end: {why}")?;
        }
        for missed in &self.missed {
            writeln!(text, "MISSED: {missed}")?;
        }
        writeln!(text, "\nrepeat with: {}", self.circumstances.repeat)
    }
}

impl NodesReport {
    fn new(nodes: usize, incidents: &[Incident], successes: &Successes) -> Self {
        let of_nodes = || incidents.iter().filter(|one| one.round.nodes_max() == nodes);
        let again = of_nodes().filter_map(|one| successes.slowest_recovery(one.started));
        let whole = of_nodes().filter_map(|one| Some(one.whole?.saturating_sub(one.started)));
        Self {
            nodes,
            rounds: of_nodes().count(),
            issued_again_after_ms: Figures::of(again.map(|(_, nanos)| millis(nanos)).collect()),
            whole_after_ms: Figures::of(whole.map(millis).collect()),
        }
    }
}

/// Figures, or dashes.
fn cells(figures: Option<Figures>) -> [String; 3] {
    figures.map_or_else(
        || std::array::from_fn(|_| "-".to_owned()),
        |one| [one.p50, one.p99, one.max].map(|one| format!("{one:.0}")),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coupon_loadtest::{Bottleneck, Latency};

    use super::*;
    use crate::power_cut::{Again, Round};

    const NODES: [u64; 3] = [1, 2, 3];

    fn incident(began: u64, nodes: &[u64], again: Option<&[u64]>) -> Incident {
        let again = again.map(|nodes| Again { after: Duration::ZERO, nodes: nodes.to_vec() });
        let round = Round { pause: Duration::ZERO, nodes: nodes.to_vec(), again };
        let started = began + 1_000_000;
        Incident { round, began, started, whole: Some(started + 9_000_000) }
    }

    fn call(invoked: u64, ending: Ending) -> Asked {
        let returned = invoked + 1_000_000;
        Asked { shard: 1, router: 1, sent: invoked, invoked, returned, attempts: 2, ending }
    }

    fn material(endings: [Ending; 2]) -> Material {
        let [first, second] = endings;
        Material {
            circumstances: Circumstances {
                seed: 7,
                repeat: "chaos/power-cut --seed 7".to_owned(),
                cores: 2,
                load_average: [None, Some(1.0)],
                rate: 100,
                campaigns: 1,
                shards: 1,
                nodes: 3,
            },
            planned: 3,
            aborted: None,
            incidents: vec![
                incident(10_000_000, &NODES, Some(&[2])),
                incident(50_000_000, &[3], None),
            ],
            shards: vec![1],
            calls: vec![
                call(13_000_000, Ending::Issued),
                call(56_000_000, first),
                call(58_000_000, second),
            ],
            load: LoadReport {
                sent: 3,
                issued: 3,
                errors: 0,
                late: 0,
                unsent: 0,
                bottleneck: Bottleneck::None,
                latency: Latency::default(),
                elapsed_seconds: 1.0,
            },
            replicas: 3,
            judged: Ok((Verdict::default(), Vec::new())),
        }
    }

    #[test]
    fn rounds_are_grouped_by_how_many_nodes_lost_power() {
        let report = Report::new(material([Ending::Issued, Ending::Unknown]));
        assert!(report.is_ok, "{}", report.text());
        assert_eq!((report.cuts, report.cuts_while_starting), (3, 1));
        assert_eq!((report.unknown, report.failed, report.repeated), (1, 0, 3));
        let rows: Vec<(usize, usize)> =
            report.by_nodes.iter().map(|one| (one.nodes, one.rounds)).collect();
        assert_eq!(rows, [(3, 1), (1, 1)]);
        let issued = report.by_nodes.iter().map(|one| one.issued_again_after_ms.unwrap().max);
        assert_eq!(issued.collect::<Vec<f64>>(), [3.0, 6.0]);
        assert_eq!(report.by_nodes[0].whole_after_ms.unwrap().p50, 9.0);
    }

    #[test]
    fn what_is_missing_fails_the_run() {
        let good = || material([Ending::Issued, Ending::Issued]);
        assert!(Report::new(good()).is_ok);
        let aborted = Some("node 2 ended by itself".to_owned());
        for bad in [
            material([Ending::Failed, Ending::Issued]),
            Material { planned: 4, ..good() },
            Material { aborted, ..good() },
            Material { judged: Ok((Verdict::default(), vec!["it is gone".to_owned()])), ..good() },
            Material { judged: Err("the router is silent".to_owned()), ..good() },
        ] {
            let report = Report::new(bad);
            assert!(!report.is_ok, "{}", report.text());
        }
    }
}
