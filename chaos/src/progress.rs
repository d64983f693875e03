//! What is told while a run goes on: one line for each fault, on standard output.

use std::io::{Write as _, stdout};
use std::time::Duration;

use crate::incident::Incident;
use crate::kind::Measure;
use crate::plan::Step;
use crate::power_cut::Incident as PowerCut;
use crate::recovery::Successes;
use crate::settings::Settings;
use crate::topology::Topology;

/// It need not be read; the report comes in any case.
fn tell(text: &str) {
    let mut stdout = stdout().lock();
    let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
}

pub(crate) fn begin(settings: &Settings, topology: &Topology, steps: usize) {
    let Settings { seed, rate, campaigns, .. } = settings;
    let (shards, nodes) = (topology.shards().len(), topology.nodes.len());
    tell(&format!(
        "seed {seed}: {steps} faults, {rate} calls a second on {campaigns} campaigns, {shards} shards, \
         {nodes} nodes\n"
    ));
}

/// What is done now.
pub(crate) fn note(text: &str) {
    tell(&format!("{text}\n"));
}

/// A fault is put in force.
pub(crate) fn fault(number: usize, of: usize, step: &Step) {
    let shard = step.shard.map_or_else(|| "-".to_owned(), |shard| shard.to_string());
    let width = of.to_string().len();
    tell(&format!("{number:>width$}/{of}  {:<15} shard {shard:<4}", step.kind.name()));
}

/// It is.
pub(crate) fn hit(incident: &Incident) {
    let targets = incident.targets.join(",");
    tell(&format!(" {:<16}", if targets.len() > 15 { "several" } else { &targets }));
}

/// It is healed.
pub(crate) fn result(incident: &Incident, live: &Successes, now: u64) {
    if let Some(why) = &incident.why_not {
        tell(&format!("  NOT IN FORCE: {}\n", why.replace('\n', " ")));
        return;
    }
    let mut text = String::new();
    if incident.kind.measure() != Measure::Gap {
        text = match incident.recovery(live) {
            Some(nanos) => format!("  issued again after {}", millis(nanos)),
            None => "  DID NOT ISSUE AGAIN".to_owned(),
        };
    }
    if let Some(gap) = live.longest_gap(incident.times.called, now) {
        text.push_str(&format!("  longest gap {} (shard {})", millis(gap.nanos), gap.shard));
    }
    tell(&format!("{text}\n"));
}

/// A round of power cuts is over; `served` is how long all shards took to issue again.
pub(crate) fn power_cut(number: usize, of: usize, incident: &PowerCut, served: Option<u64>) {
    let width = of.to_string().len();
    let nodes = |nodes: &[u64]| {
        let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
        nodes.join(",")
    };
    let round = &incident.round;
    let again = round.again.as_ref().map_or_else(String::new, |again| {
        format!("and {} after {} ms", nodes(&again.nodes), again.after.as_millis())
    });
    let served = served.map_or_else(
        || "DID NOT ISSUE AGAIN".to_owned(),
        |nanos| format!("issued again after {}", millis(nanos)),
    );
    let whole = incident.whole.map_or_else(
        || "NOT WHOLE AGAIN".to_owned(),
        |whole| format!("whole after {}", millis(whole.saturating_sub(incident.started))),
    );
    let cut = nodes(&round.nodes);
    tell(&format!("{number:>width$}/{of}  nodes {cut:<6} {again:<24} {served}  {whole}\n"));
}

/// Nanoseconds for people.
pub(crate) fn millis(nanos: u64) -> String {
    format!("{:>6} ms", Duration::from_nanos(nanos).as_millis())
}
