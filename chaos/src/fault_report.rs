//! What is reported of one fault, and of all faults of a kind.

use serde::Serialize;

use crate::elections::Election;
use crate::figures::{Figures, millis};
use crate::incident::{Effect, Incident};
use crate::kind::{Kind, Measure};

/// A fault.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// Its place in the plan, from 1.
    pub number: usize,
    /// Its kind.
    pub kind: Kind,
    /// The shard that was hit.
    pub shard: Option<u32>,
    /// Who was hit.
    pub targets: Vec<String>,
    /// Whether it was in force.
    pub in_force: bool,
    /// Why not.
    pub why_not: Option<String>,
    /// When it was in force, since the recording began.
    pub began_ms: f64,
    /// When all that was down was started again.
    pub started_ms: Option<f64>,
    /// When everything was healed.
    pub healed_ms: f64,
    /// How long after it was in force another node was first seen to lead the shard that was hit; late
    /// by up to 50 ms. `None` if none was seen.
    pub elected_after_ms: Option<f64>,
    /// How long after it was in force (after everything down: after it was started again) the shard that
    /// was hit, or the slowest of all, had answered with a coupon a call that was sent after that; where a router was
    /// cut off, through that router.
    pub rto_ms: Option<f64>,
    /// The longest time without an issue on one shard, until the next fault.
    pub longest_gap_ms: Option<f64>,
    /// That shard.
    pub longest_gap_shard: Option<u32>,
    /// The router that was cut off.
    pub router: Option<u64>,
    /// The shards that did not issue again in time after it was healed.
    pub standing_still: Vec<u32>,
    /// Calls that failed. This and what follows is of all calls that were under way at any time from
    /// when it was in force until the next fault.
    pub failed: u64,
    /// Calls whose outcome is not known.
    pub unknown: u64,
    /// Calls that had to be sent more than once.
    pub repeated: u64,
    /// The longest call.
    pub slowest_call_ms: f64,
}

/// All faults of a kind. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct KindReport {
    /// The kind.
    pub kind: Kind,
    /// How many had their turn.
    pub count: usize,
    /// How many were in force.
    pub in_force: usize,
    /// How many of those that are measured by it never issued again.
    pub never: usize,
    /// The times to the next issue.
    pub rto_ms: Option<Figures>,
    /// The times until another leader was seen.
    pub elected_after_ms: Option<Figures>,
    /// The longest gaps of each.
    pub longest_gap_ms: Option<Figures>,
    /// Calls that failed; one that was under way during several faults counts for each.
    pub failed: u64,
    /// Calls whose outcome is not known.
    pub unknown: u64,
    /// Calls that had to be sent more than once.
    pub repeated: u64,
    /// The longest call.
    pub slowest_call_ms: f64,
}

impl FaultReport {
    /// The report of a fault that had its turn.
    pub(crate) fn new(incident: &Incident, effect: &Effect, elections: &[Election]) -> Self {
        let times = &incident.times;
        let elected = elections.iter().find(|election| {
            Some(election.shard) == incident.shard
                && election.at > times.began
                && election.at <= times.until
        });
        Self {
            number: incident.number,
            kind: incident.kind,
            shard: incident.shard,
            targets: incident.targets.clone(),
            in_force: incident.why_not.is_none(),
            why_not: incident.why_not.clone(),
            began_ms: millis(times.began),
            started_ms: times.started.map(millis),
            healed_ms: millis(times.healed),
            elected_after_ms: elected.map(|election| millis(election.at - times.began)),
            rto_ms: effect.recovery.map(millis),
            longest_gap_ms: effect.gap.map(|gap| millis(gap.nanos)),
            longest_gap_shard: effect.gap.map(|gap| gap.shard),
            router: incident.router,
            standing_still: incident.standing_still.clone(),
            failed: effect.failed,
            unknown: effect.unknown,
            repeated: effect.repeated,
            slowest_call_ms: millis(effect.slowest),
        }
    }
}

impl KindReport {
    /// The report of all faults of a kind.
    pub(crate) fn new(kind: Kind, faults: &[FaultReport]) -> Self {
        let all: Vec<&FaultReport> = faults.iter().filter(|fault| fault.kind == kind).collect();
        let in_force: Vec<&FaultReport> =
            all.iter().filter(|fault| fault.in_force).copied().collect();
        let figures = |of: fn(&FaultReport) -> Option<f64>| {
            Figures::of(in_force.iter().filter_map(|fault| of(fault)).collect())
        };
        let is_measured = kind.measure() != Measure::Gap;
        Self {
            kind,
            count: all.len(),
            in_force: in_force.len(),
            never: in_force.iter().filter(|fault| is_measured && fault.rto_ms.is_none()).count(),
            rto_ms: figures(|fault| fault.rto_ms),
            elected_after_ms: figures(|fault| fault.elected_after_ms),
            longest_gap_ms: figures(|fault| fault.longest_gap_ms),
            failed: all.iter().map(|fault| fault.failed).sum(),
            unknown: all.iter().map(|fault| fault.unknown).sum(),
            repeated: all.iter().map(|fault| fault.repeated).sum(),
            slowest_call_ms: all.iter().map(|fault| fault.slowest_call_ms).fold(0.0, f64::max),
        }
    }
}
