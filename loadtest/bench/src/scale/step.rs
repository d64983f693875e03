//! One step: one number of shard groups, measured once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::time::Instant;

use crate::load::closed_loop::closed_loop;
use crate::load::connect::{connect, connect_once};
use crate::load::tally::{Tally, Window};
use crate::load::unary::Unary;
use crate::machine::cpu_limit::{ControlGroups, CpuLimit, Periods};
use crate::machine::idle::Processors;
use crate::machine::usage::Usage;
use crate::meter::rest;
use crate::systems::audited::Audited;
use crate::systems::campaigns::Campaigns;
use crate::systems::cluster::{Cluster, Shape};
use crate::systems::placement::Placement;

/// Numbers of shard groups, and of nodes, in the order in which they are measured.
pub(crate) const GROUPS: [u32; 4] = [1, 2, 4, 8];

/// Campaigns on each shard.
const CAMPAIGNS: usize = 16;

/// Calls in flight on each shard, evenly over its campaigns: enough that a node finds work whenever it may run.
pub(crate) const IN_FLIGHT: usize = 512;

/// Time before each measurement in which connections, caches and the limited nodes warm up.
const WARM_UP: Duration = Duration::from_secs(1);

/// CPU time that a node may have used beyond its share, for the resolution of the kernel's counters and the
/// periods that had begun. With more, the limit does not hold.
const BEYOND_SHARE_MAX: Duration = Duration::from_millis(50);

/// The steps of all rounds, by number of shard groups.
pub(crate) type Steps = BTreeMap<u32, Vec<Step>>;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// Coupons per second.
    pub(crate) per_second: f64,
    /// Latencies of calls.
    pub(crate) p50_ms: f64,
    /// See `p50_ms`.
    pub(crate) p99_ms: f64,
    /// Coupons, the time to warm up included.
    pub(crate) count: u64,
    /// Of the time that each node with campaigns may use, the part that it used. Resolution: 10 ms of CPU time.
    pub(crate) share_used: Vec<f64>,
    /// Of the periods over which the kernel counts shares, the part in which each node used up its own.
    pub(crate) at_limit: Vec<f64>,
    /// Of the time that the node of the meta shard may use, the part that it used.
    pub(crate) meta_share_used: f64,
    /// CPU time of the router over the time that passed.
    pub(crate) router_busy: f64,
    /// CPU time of the load generator over the time that passed.
    pub(crate) client_busy: f64,
    /// Of the time of all processors, the part in which no process wanted to run.
    pub(crate) idle: f64,
}

/// Everything that steps have in common.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The program to measure.
    pub(crate) program: PathBuf,
    /// Directory below which the nodes keep their data.
    pub(crate) data: PathBuf,
    /// What limits the nodes.
    pub(crate) control_groups: ControlGroups,
    /// Percent of a processor that each node may use.
    pub(crate) share_percent: u16,
    /// Length of a measurement.
    pub(crate) length: Duration,
}

impl Stage {
    /// Measures a new cluster of `groups` shard groups. Also returns the faults of its answers.
    ///
    /// # Errors
    /// When nothing could be measured, or a limit did not hold.
    pub(crate) async fn measure(&self, groups: u32) -> anyhow::Result<(Step, Vec<String>)> {
        let dir = tempfile::Builder::new()
            .prefix("coupon-bench-")
            .tempdir_in(&self.data)
            .context("make a directory for the nodes")?;
        // Dropped after the cluster, since a group is removed when its process is gone.
        let mut limits = Vec::new();
        let shape = Shape::shard_per_node(groups);
        let mut cluster = Cluster::start(&self.program, dir.path(), shape).await?;
        let campaigns = Campaigns::new(connect_once(cluster.router_address()).await?);
        let ids = Placement::of(cluster.shards())?.new_ids_beyond_first(CAMPAIGNS)?;
        let audited = Audited::create_all(&campaigns, ids).await?;
        let nodes = cluster.node_ids();
        rest(&nodes).await?;
        // Not before, since limited nodes would take minutes to start.
        for pid in &nodes {
            limits.push(self.control_groups.limit(*pid, self.share_percent)?);
        }
        let channels = connect(cluster.router_address()).await?;
        let callers: Vec<Unary> = audited
            .iter()
            .flat_map(|campaign| campaign.callers(&channels, IN_FLIGHT / CAMPAIGNS))
            .collect();
        let before = Counters::read(&cluster, &limits)?;
        let tally = closed_loop(callers, Window::after(WARM_UP, self.length)).await?;
        let step = self.step(&before, &Counters::read(&cluster, &limits)?, &tally)?;
        cluster.check()?;
        let mut faults: Vec<String> = tally.faults().collect();
        faults.extend(Audited::faults(&campaigns, &audited).await?);
        Ok((step, faults))
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a minute fit into 2^52")]
    fn step(&self, before: &Counters, after: &Counters, tally: &Tally) -> anyhow::Result<Step> {
        let elapsed = (after.at - before.at).as_micros() as f64;
        let part = |after: Usage, before: Usage| (after - before).cpu_micros as f64 / elapsed;
        let share = f64::from(self.share_percent) / 100.0;
        let nodes = after.nodes.iter().zip(&before.nodes);
        let used_max = share * elapsed + BEYOND_SHARE_MAX.as_micros() as f64;
        if nodes.clone().any(|(after, before)| (*after - *before).cpu_micros as f64 > used_max) {
            bail!("a node used more CPU time than it may use: the limit does not hold");
        }
        let periods = after.periods.iter().zip(&before.periods);
        let mut share_used =
            nodes.map(|(after, before)| part(*after, *before) / share).collect::<Vec<f64>>();
        // The first node has the meta shard, and no campaigns.
        let meta_share_used = share_used.remove(0);
        Ok(Step {
            per_second: tally.per_second(),
            p50_ms: tally.latency_ms(0.5),
            p99_ms: tally.latency_ms(0.99),
            count: tally.all(),
            share_used,
            at_limit: periods
                .skip(1)
                .map(|(after, before)| after.at_limit_since(*before))
                .collect(),
            meta_share_used,
            router_busy: part(after.router, before.router),
            client_busy: part(after.client, before.client),
            idle: after.processors.idle_since(before.processors),
        })
    }
}

impl Step {
    /// The smallest part of the periods in which a node used up its share.
    pub(crate) fn at_limit_min(&self) -> f64 {
        self.at_limit.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The part of their shares that all nodes with campaigns used together.
    #[expect(clippy::cast_precision_loss, reason = "a few nodes")]
    pub(crate) fn share_used_mean(&self) -> f64 {
        self.share_used.iter().sum::<f64>() / self.share_used.len() as f64
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0}/s  p50 {:>6.1} ms  p99 {:>6.1} ms  share used {:.2}  at limit ≥ {:.2}  \
             router {:.2}  client {:.2}  idle {:.2}",
            self.per_second,
            self.p50_ms,
            self.p99_ms,
            self.share_used_mean(),
            self.at_limit_min(),
            self.router_busy,
            self.client_busy,
            self.idle
        )
    }
}

/// What is read before and after a load.
struct Counters {
    client: Usage,
    router: Usage,
    nodes: Vec<Usage>,
    periods: Vec<Periods>,
    processors: Processors,
    at: Instant,
}

impl Counters {
    fn read(cluster: &Cluster, limits: &[CpuLimit]) -> anyhow::Result<Self> {
        let of = |pid: u32| Usage::of(&[pid]);
        Ok(Self {
            client: of(std::process::id())?,
            router: of(cluster.router_id())?,
            nodes: cluster.node_ids().into_iter().map(of).collect::<Result<_, _>>()?,
            periods: limits.iter().map(CpuLimit::periods).collect::<Result<_, _>>()?,
            processors: Processors::now()?,
            at: Instant::now(),
        })
    }
}
