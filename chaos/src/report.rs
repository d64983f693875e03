//! What came of a run: for programs one JSON document, to which fields are only ever added; for people
//! a table.

use std::fmt::Write as _;

use coupon_checker::Verdict;
use serde::Serialize;

use crate::elections::Election;
use crate::fault_report::{FaultReport, KindReport};
use crate::incident::{Effect, Incident};
use crate::kind::{Kind, Measure};
use crate::load_report::LoadReport;
use crate::run::CONVERGENCE_MAX;
use crate::thresholds::Thresholds;

/// Under what conditions a run was made.
#[derive(Clone, Debug, Serialize)]
pub struct Circumstances {
    /// The seed.
    pub seed: u64,
    /// The command that repeats it.
    pub repeat: String,
    /// How many processors the machine has.
    pub cores: usize,
    /// The load average of the machine over a minute, at the beginning and at the end, with the cluster
    /// and the callers in it.
    pub load_average: [Option<f64>; 2],
    /// How many coupons were to be asked for a second.
    pub rate: u32,
    /// How many campaigns they were spread over.
    pub campaigns: u32,
    /// How many shards own campaigns.
    pub shards: usize,
    /// How many nodes there are.
    pub nodes: usize,
}

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether every promise was kept, every fault was in force, every threshold was reached, and the
    /// plan was carried out to its end. Not so where nothing was judged.
    pub is_ok: bool,
    /// Under what conditions.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// How many faults were planned.
    pub planned: usize,
    /// Why the plan was not carried out to its end.
    pub aborted: Option<String>,
    /// What was not as it should be, besides the verdict.
    pub missed: Vec<String>,
    /// The kinds of faults.
    pub kinds: Vec<KindReport>,
    /// The faults.
    pub faults: Vec<FaultReport>,
    /// Changes of leaders that were seen; `at` in nanoseconds since the recording began.
    pub elections: Vec<Election>,
    /// The load.
    pub load: LoadReport,
    /// How many coupons were issued before the start of their campaign; `None` where nothing was judged.
    pub issued_before_start: Option<u64>,
    /// How many replicas were compared at the end.
    pub replicas: usize,
    /// What the checker says; `None` where nothing was judged.
    pub verdict: Option<Verdict>,
    /// Why nothing was judged.
    pub not_judged: Option<String>,
}

/// What a report is made of.
pub struct Material {
    /// Under what conditions.
    pub circumstances: Circumstances,
    /// How many faults were planned.
    pub planned: usize,
    /// Why the plan was not carried out to its end.
    pub aborted: Option<String>,
    /// The faults that had their turn.
    pub incidents: Vec<Incident>,
    /// What they did.
    pub effects: Vec<Effect>,
    /// Changes of leaders.
    pub elections: Vec<Election>,
    /// The load.
    pub load: LoadReport,
    /// How many replicas were compared.
    pub replicas: usize,
    /// What the checker says, how many coupons were issued before the start of their campaign, and which
    /// campaigns are not as they were created; or why nothing was judged.
    pub judged: Result<(Verdict, u64, Vec<String>), String>,
}

impl Report {
    /// The report of a run, held against thresholds.
    #[must_use]
    pub fn new(material: Material, thresholds: &Thresholds) -> Self {
        let Material { incidents, effects, elections, .. } = &material;
        let faults: Vec<FaultReport> = incidents
            .iter()
            .zip(effects)
            .map(|(incident, effect)| FaultReport::new(incident, effect, elections))
            .collect();
        let kinds: Vec<KindReport> = Kind::ALL
            .into_iter()
            .map(|kind| KindReport::new(kind, &faults))
            .filter(|kind| kind.count > 0)
            .collect();
        let mut missed = Vec::new();
        for fault in faults.iter().filter(|fault| !fault.in_force) {
            let why = fault.why_not.as_deref().unwrap_or_default();
            missed.push(format!("fault {} {} was not in force: {why}", fault.number, fault.kind));
        }
        for fault in faults.iter().filter(|fault| !fault.standing_still.is_empty()) {
            missed.push(format!(
                "fault {} {}: shards {:?} had issued nothing {} s after it was healed",
                fault.number,
                fault.kind,
                fault.standing_still,
                CONVERGENCE_MAX.as_secs()
            ));
        }
        missed.extend(thresholds.missed(&kinds));
        missed.extend(thresholds.missed_by(&material.load));
        let (verdict, early, not_judged) = match material.judged {
            Ok((verdict, early, changed)) => {
                missed.extend(changed);
                (Some(verdict), Some(early), None)
            }
            Err(why) => (None, None, Some(why)),
        };
        if let Some(early) = early.filter(|early| *early > 0) {
            missed.push(format!("{early} coupons were issued before their campaign began"));
        }
        let is_kept = verdict.as_ref().is_some_and(Verdict::is_ok);
        Self {
            is_ok: is_kept && missed.is_empty() && material.aborted.is_none(),
            circumstances: material.circumstances,
            planned: material.planned,
            aborted: material.aborted,
            missed,
            kinds,
            faults,
            elections: material.elections,
            load: material.load,
            issued_before_start: early,
            replicas: material.replicas,
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
        let load =
            load_average.map(|load| load.map_or("?".to_owned(), |load| format!("{load:.1}")));
        writeln!(
            text,
            "{} of {} faults in {:.0} s; {rate} calls a second, {campaigns} campaigns, {shards} shards, \
             {nodes} nodes",
            self.faults.len(),
            self.planned,
            self.load.elapsed_seconds
        )?;
        writeln!(
            text,
            "machine: {cores} cores for everything, load average {} before and {} after\n",
            load[0], load[1]
        )?;
        writeln!(
            text,
            "{:>36}{:^25}{:^18}{:^18}",
            "", "issued again after ms", "elected ms", "gap ms"
        )?;
        writeln!(
            text,
            "{:<16}{:>6}{:>9}{:>6}{:>8}{:>8}{:>8}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}{:>11}",
            "fault",
            "count",
            "in force",
            "never",
            "p50",
            "p99",
            "max",
            "p50",
            "max",
            "p50",
            "max",
            "failed",
            "unknown",
            "repeated",
            "slowest ms"
        )?;
        for kind in &self.kinds {
            let rto = kind.rto_ms.map(|one| [one.p50, one.p99, one.max]);
            let [p50, p99, max] = cells(rto.map(Vec::from));
            let elected = kind.elected_after_ms.map(|one| vec![one.p50, one.max]);
            let [elected_p50, elected_max] = cells(elected);
            let [gap_p50, gap_max] = cells(kind.longest_gap_ms.map(|one| vec![one.p50, one.max]));
            let never = if kind.kind.measure() == Measure::Gap {
                "-".to_owned()
            } else {
                kind.never.to_string()
            };
            writeln!(
                text,
                "{:<16}{:>6}{:>9}{never:>6}{p50:>8}{p99:>8}{max:>8}{elected_p50:>9}{elected_max:>9}\
                 {gap_p50:>9}{gap_max:>9}{:>8}{:>9}{:>9}{:>11.0}",
                kind.kind.name(),
                kind.count,
                kind.in_force,
                kind.failed,
                kind.unknown,
                kind.repeated,
                kind.slowest_call_ms
            )?;
        }
        let LoadReport { sent, issued, errors, late, unsent, latency, bottleneck, .. } = &self.load;
        writeln!(
            text,
            "\n{sent} calls, {issued} coupons, {errors} errors, {late} sent late, {unsent} never sent; \
             latency p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms; {} changes of leaders, {} replicas \
             compared\nbottleneck: {bottleneck}\n",
            latency.p50_ms,
            latency.p99_ms,
            latency.max_ms,
            self.elections.len(),
            self.replicas
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

/// `N` figures, or dashes.
fn cells<const N: usize>(figures: Option<Vec<f64>>) -> [String; N] {
    let figures = figures.unwrap_or_default();
    std::array::from_fn(|at| figures.get(at).map_or("-".to_owned(), |one| format!("{one:.0}")))
}
