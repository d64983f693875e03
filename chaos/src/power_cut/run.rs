//! A run: load, one round after the other, quiet, the verdict.

use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coupon_checker::{Fault, Replica};
use coupon_loadtest::{Conditions, Evidence, Target};

use super::cluster::Cluster;
use super::disk;
use super::error::PowerCutError;
use super::plan::{Round, plan};
use crate::load::{self, Load, Outcomes};
use crate::progress;
use crate::recovery::Successes;
use crate::stop::Stop;
use crate::topology::Topology;

/// Maximum time from the start of the nodes until every shard issues and every node takes part again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether every shard issues again.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How often the nodes are asked whether all take part again: each time takes a process.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Quota of a campaign: it is sold out after half a minute of an even load of ten calls a second.
const QUOTA: u32 = 300;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the plan is derived from.
    pub seed: u64,
    /// The number of power cuts.
    pub cuts: u32,
    /// The number of coupons that are asked for a second.
    pub rate: u32,
    /// The number of campaigns that they are spread over at any time.
    pub campaigns: u32,
    /// The program `coupon`.
    pub program: PathBuf,
    /// For the report of the load.
    pub conditions: Conditions,
}

/// A round that was carried out. Times are nanoseconds of the clock of the recording.
#[derive(Clone, Debug)]
pub struct Incident {
    /// What was planned.
    pub round: Round,
    /// When the power was gone for the first time.
    pub began: u64,
    /// When the last node was started again.
    pub started: u64,
    /// When all nodes took part again; `None` if they did not in time.
    pub whole: Option<u64>,
}

/// What came of a run.
pub struct Ended {
    /// The number of nodes.
    pub nodes: usize,
    /// The shards that own campaigns.
    pub shards: Vec<u32>,
    /// The rounds that had their turn.
    pub incidents: Vec<Incident>,
    /// What was recorded, and judged.
    pub outcomes: Outcomes,
    /// Why the plan was not carried out to its end.
    pub aborted: Option<String>,
    /// The images of the disks and the logs of the processes.
    pub files: PathBuf,
}

/// Carries the plan out, and judges what there is.
///
/// # Errors
/// When this machine has no disks to cut, there is no cluster, or the load fails. Processes have ended and
/// disks are unmounted then as well.
pub fn run(settings: &Settings, stop: &Stop) -> Result<Ended, PowerCutError> {
    disk::check()?;
    let files = tempfile::Builder::new().prefix("coupon-power-cut-").tempdir();
    let files = files.map_err(PowerCutError::system("make a directory for the disks"))?.keep();
    progress::note(&format!("disks and logs: {}", files.display()));
    let mut cluster = Cluster::start(&settings.program, &files)?;
    let topology = Topology::of(&cluster.status()?)?;
    let rounds = plan(settings.seed, settings.cuts, &topology.nodes);
    let target = Target::New {
        prefix: topology.prefix("power-cut", settings.campaigns)?,
        count: settings.campaigns,
        quota: QUOTA,
        per_recipient_limit: 1,
        is_renewed: true,
    };
    let routers = vec![cluster.router_address.clone()];
    let options = load::options(routers, settings.rate, target, settings.seed);
    progress::note(&format!(
        "seed {}: {} power cuts in {} rounds, {} calls a second on {} campaigns, {} shards, {} nodes",
        settings.seed,
        settings.cuts,
        rounds.len(),
        settings.rate,
        settings.campaigns,
        topology.shards().len(),
        topology.nodes.len()
    ));
    let owner = topology.clone();
    let owner = move |campaign: &str| owner.owner(campaign);
    let load = Load::begin(options, settings.conditions.clone(), topology.shards(), owner)?;
    let mut run = Run { cluster: &mut cluster, load, stop, aborted: None };
    let incidents = run.carry_out(&rounds);
    let Run { load, mut aborted, .. } = run;
    progress::note("waiting for the calls under way");
    let quiet = load.end();
    progress::note("comparing the replicas");
    let replicas = digests(&cluster, &mut aborted);
    progress::note("reading everything back and judging");
    let faults = faults(&rounds, &incidents);
    let outcomes = quiet.judge(Evidence { faults, replicas })?;
    if stop.is_set() {
        aborted.get_or_insert("it was stopped".to_owned());
    }
    let nodes = topology.nodes.len();
    Ok(Ended { nodes, shards: topology.shards(), incidents, outcomes, aborted, files })
}

/// The rounds as the checker knows them, those that had no turn among them.
fn faults(rounds: &[Round], incidents: &[Incident]) -> Vec<Fault> {
    let over = incidents.last().map_or(0, |last| last.started);
    let fault = |(at, round): (usize, &Round)| {
        let incident = incidents.get(at);
        Fault {
            name: format!("{} power cut of nodes {:?}", at + 1, round.nodes),
            began: incident.map_or(over, |incident| incident.began),
            ended: incident.map_or(over, |incident| incident.started),
            in_force: incident.is_some(),
        }
    };
    rounds.iter().enumerate().map(fault).collect()
}

fn digests(cluster: &Cluster, aborted: &mut Option<String>) -> Vec<Replica> {
    match cluster.digests() {
        Ok(replicas) => replicas,
        Err(error) => {
            aborted.get_or_insert(format!("comparing the replicas: {error}"));
            Vec::new()
        }
    }
}

/// The rounds, one after the other.
struct Run<'a> {
    cluster: &'a mut Cluster,
    load: Load,
    stop: &'a Stop,
    aborted: Option<String>,
}

impl Run<'_> {
    fn carry_out(&mut self, rounds: &[Round]) -> Vec<Incident> {
        let mut incidents = Vec::with_capacity(rounds.len());
        for (number, round) in (1..).zip(rounds) {
            if self.stop.sleep(round.pause) || self.aborted.is_some() {
                break;
            }
            match self.one(round) {
                Ok(incident) => {
                    let served = self.live().slowest_recovery(incident.started);
                    let served = served.map(|(_, nanos)| nanos);
                    if !self.stop.is_set() {
                        progress::power_cut(number, rounds.len(), &incident, served);
                    }
                    incidents.push(incident);
                }
                Err(error) => self.aborted = Some(format!("round {number}: {}", chain(&error))),
            }
        }
        incidents
    }

    /// One round, until everything serves again.
    fn one(&mut self, round: &Round) -> Result<Incident, PowerCutError> {
        self.live().clear();
        let began = self.cut(&round.nodes)?;
        let mut started = self.power_on(&round.nodes)?;
        if let Some(again) = &round.again {
            self.stop.sleep(again.after);
            self.cut(&again.nodes)?;
            started = self.power_on(&again.nodes)?;
        }
        let whole = self.recover(started);
        Ok(Incident { round: round.clone(), began, started, whole })
    }

    fn cut(&mut self, nodes: &[u64]) -> Result<u64, PowerCutError> {
        let cut = self.cluster.cut(nodes);
        cut.map_err(PowerCutError::command("cut the power"))?;
        Ok(self.load.clock.now())
    }

    fn power_on(&mut self, nodes: &[u64]) -> Result<u64, PowerCutError> {
        self.cluster.power_on(nodes)?;
        Ok(self.load.clock.now())
    }

    /// Waits until every shard issues and every node takes part. Returns when that was; `None` if the run is
    /// over instead.
    fn recover(&mut self, started: u64) -> Option<u64> {
        let deadline = Instant::now() + RECOVERY_MAX;
        while self.live().slowest_recovery(started).is_none() {
            if self.is_over(deadline) {
                let silent = self.live().standing_still(started);
                self.abort(format!("shards {silent:?} do not issue again"));
                return None;
            }
            self.stop.sleep(LOOK_INTERVAL);
        }
        while !self.cluster.is_whole() {
            if self.is_over(deadline) {
                self.abort("not all nodes take part again".to_owned());
                return None;
            }
            self.stop.sleep(ASK_INTERVAL);
        }
        let whole = self.load.clock.now();
        (!self.is_over(deadline)).then_some(whole)
    }

    /// Whether there is no use in waiting.
    fn is_over(&mut self, deadline: Instant) -> bool {
        let faults = self.cluster.faults();
        if !faults.is_empty() {
            self.abort(faults.join("; "));
        }
        if !self.load.goes_on() {
            self.abort("the load ended".to_owned());
        }
        self.aborted.is_some() || self.stop.is_set() || Instant::now() >= deadline
    }

    /// Ends the run; the first reason counts.
    fn abort(&mut self, why: String) {
        if !self.stop.is_set() {
            self.aborted.get_or_insert(why);
        }
    }

    fn live(&self) -> MutexGuard<'_, Successes> {
        self.load.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error and what it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
