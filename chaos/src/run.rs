//! A run: load, one fault after the other, healing, quiet, the verdict.
//!
//! Whatever happens on the way, everything is healed at the end.

use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use coupon_checker::Replica;
use coupon_loadtest::{Clock, Evidence, LoadError, Target};

use crate::cluster::{self, ClusterError};
use crate::elections::{Election, Watch};
use crate::incident::{Incident, Times};
use crate::kind::Measure;
use crate::load::{self, Load, Outcomes};
use crate::nemesis::{Done, Nemesis, NemesisError};
use crate::plan::{Step, plan};
use crate::progress;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::topology::{Topology, Unfit};

/// How long a shard may take to issue again before its leader is healed.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

/// How long everything may take to issue again after it was healed, before the next fault.
pub(crate) const CONVERGENCE_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether a shard issues again.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Quota of every campaign, which no run uses up.
const QUOTA: u32 = 1_000_000_000;

/// What came of a run.
pub struct Ended {
    /// The cluster.
    pub topology: Topology,
    /// The faults that had their turn.
    pub incidents: Vec<Incident>,
    /// How many faults were planned.
    pub planned: usize,
    /// The changes of leaders that were seen.
    pub elections: Vec<Election>,
    /// What was recorded, and judged.
    pub outcomes: Outcomes,
    /// Why the plan was not carried out to its end.
    pub aborted: Option<String>,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster is not whole before the first fault.
    #[error("the cluster is not whole before anything was broken")]
    NotWhole(#[source] NemesisError),
    /// It is not known what the cluster consists of.
    #[error("ask what the cluster consists of")]
    Cluster(#[from] ClusterError),
    /// The cluster has not what is needed.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The load failed.
    #[error("run the load")]
    Load(#[from] LoadError),
}

/// Runs the plan, and judges what there is.
///
/// # Errors
/// When there is no load or no cluster; everything is healed then as well.
pub fn run(settings: &Settings, stop: &Stop) -> Result<Ended, RunError> {
    let nemesis = Nemesis::new(settings.scripts.clone());
    nemesis.heal().map_err(RunError::NotWhole)?;
    let guard = Guard { nemesis: &nemesis };
    let topology = Topology::of(&cluster::status(&settings.project)?)?;
    let steps = plan(settings.seed, &settings.faults, &topology);
    let routers = match settings.routers.as_slice() {
        [] => cluster::routers(&settings.project)?,
        given => given.to_vec(),
    };
    let target = target(settings, &topology)?;
    let options = load::options(routers, settings.rate, target, settings.seed);
    progress::begin(settings, &topology, steps.len());
    let owner = topology.clone();
    let owner = move |campaign: &str| owner.owner(campaign);
    let load = Load::begin(options, settings.conditions.clone(), topology.shards(), owner)?;
    let watch = Watch::begin(settings.project.clone(), load.clock, topology.nodes.clone());
    let mut run = Run { nemesis: &nemesis, load, stop, settle: settings.settle, aborted: None };
    let incidents = run.carry_out(&steps);
    let Run { load, mut aborted, .. } = run;
    progress::note("healing");
    if let Err(error) = guard.heal() {
        aborted.get_or_insert(format!("healing: {error}"));
    }
    let elections = watch.end();
    let quiet = load.end();
    progress::note("comparing the replicas");
    let replicas = digests(&settings.project, &mut aborted);
    progress::note("reading everything back and judging");
    let over = incidents.last().map_or(0, |last| last.times.until);
    let left = steps.iter().enumerate().skip(incidents.len());
    let left = left.map(|(at, step)| step.not_carried_out(at + 1, over));
    let faults = incidents.iter().map(Incident::fault).chain(left).collect();
    let outcomes = quiet.judge(Evidence { faults, replicas })?;
    if stop.is_set() {
        aborted.get_or_insert("it was stopped".to_owned());
    }
    Ok(Ended { topology, incidents, planned: steps.len(), elections, outcomes, aborted })
}

/// Heals when it goes.
struct Guard<'a> {
    nemesis: &'a Nemesis,
}

impl Guard<'_> {
    fn heal(self) -> Result<Done, NemesisError> {
        let healed = self.nemesis.heal();
        if healed.is_ok() {
            std::mem::forget(self);
        }
        healed
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.nemesis.heal() {
            eprintln!("not healed: {error}");
        }
    }
}

fn target(settings: &Settings, topology: &Topology) -> Result<Target, Unfit> {
    // Different in every run, since campaigns stay.
    let stem = format!("chaos-{:08x}", rand::random::<u32>());
    Ok(Target::New {
        prefix: topology.prefix(&stem, settings.campaigns)?,
        count: settings.campaigns,
        quota: QUOTA,
        per_recipient_limit: 1,
        is_renewed: false,
    })
}

fn digests(project: &str, aborted: &mut Option<String>) -> Vec<Replica> {
    match cluster::digests(project) {
        Ok(replicas) => replicas,
        Err(error) => {
            aborted.get_or_insert(format!("comparing the replicas: {error}"));
            Vec::new()
        }
    }
}

/// The faults, one after the other.
struct Run<'a> {
    nemesis: &'a Nemesis,
    load: Load,
    stop: &'a Stop,
    settle: Duration,
    aborted: Option<String>,
}

impl Run<'_> {
    fn carry_out(&mut self, steps: &[Step]) -> Vec<Incident> {
        let mut incidents: Vec<Incident> = Vec::with_capacity(steps.len());
        self.stop.sleep(self.settle);
        for (at, step) in steps.iter().enumerate() {
            if self.stop.is_set() || self.aborted.is_some() {
                break;
            }
            if !self.load.goes_on() {
                self.aborted = Some("the load ended".to_owned());
                break;
            }
            let number = at + 1;
            let called = self.clock().now();
            if let Some(before) = incidents.last_mut() {
                before.times.until = called;
            }
            progress::fault(number, steps.len(), step);
            let incident = self.one(number, step, called);
            progress::result(&incident, &self.live(), self.clock().now());
            incidents.push(incident);
            self.stop.sleep(self.settle);
        }
        let now = self.clock().now();
        if let Some(last) = incidents.last_mut() {
            last.times.until = now;
        }
        incidents
    }

    fn clock(&self) -> Clock {
        self.load.clock
    }

    fn live(&self) -> std::sync::MutexGuard<'_, crate::recovery::Successes> {
        self.load.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One fault, until it is healed.
    fn one(&mut self, number: usize, step: &Step, called: u64) -> Incident {
        self.live().clear();
        let inflicted = self.nemesis.inflict(step.script, &step.arguments);
        let mut incident = Incident {
            number,
            kind: step.kind,
            shard: step.shard,
            router: step.router,
            targets: Vec::new(),
            times: Times { called, began: called, healed: called, ..Times::default() },
            why_not: None,
            standing_still: Vec::new(),
        };
        match inflicted {
            Ok(done) => {
                // A planned stop begins when it is asked for, and not when the process has ended.
                let began = done.time("began").unwrap_or(done.at);
                incident.times.began = self.of_wall(began);
                if step.kind.drops_packets() && done.dropped() == Some(0) {
                    incident.why_not = Some("no packet was dropped".to_owned());
                }
                incident.targets = done.targets;
                progress::hit(&incident);
                self.hold(step, &incident);
            }
            Err(error) => incident.why_not = Some(error.to_string()),
        }
        self.heal(&mut incident);
        incident
    }

    /// Leaves a fault in force for its time, and until the shard that was hit issues again. What is
    /// paused goes on after its time whatever happened.
    fn hold(&self, step: &Step, incident: &Incident) {
        let began = Instant::now();
        self.stop.sleep(step.hold);
        if step.kind.measure() != Measure::Recovery {
            return;
        }
        while incident.recovery(&self.live()).is_none() && began.elapsed() < RECOVERY_MAX {
            if self.stop.sleep(LOOK_INTERVAL) {
                return;
            }
        }
    }

    /// Heals, and waits until every shard issues again, or notes which do not.
    fn heal(&mut self, incident: &mut Incident) {
        match self.nemesis.heal() {
            Ok(done) => {
                incident.times.healed = self.of_wall(done.at);
                incident.times.started = done.time("started").map(|at| self.of_wall(at));
            }
            Err(error) => {
                incident.times.healed = self.clock().now();
                self.aborted = Some(format!("healing: {error}"));
                return;
            }
        }
        let deadline = Instant::now() + CONVERGENCE_MAX;
        let from = incident.times.started.unwrap_or(incident.times.healed);
        while self.live().slowest_recovery(from).is_none() {
            if self.stop.sleep(LOOK_INTERVAL) || !self.load.goes_on() {
                return;
            }
            if Instant::now() >= deadline {
                incident.standing_still = self.live().standing_still(from);
                return;
            }
        }
    }

    fn of_wall(&self, time: SystemTime) -> u64 {
        self.clock().of_wall(time)
    }
}
