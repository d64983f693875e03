//! The system that is measured: nodes and a router, each a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use crate::machine::ports;
use crate::machine::process::{Process, command, output};
use crate::systems::status;

/// The shard of all campaigns in a cluster of [`Shape::ONE_SHARD`].
const SHARD: u32 = 1;

/// Maximum time until the cluster has its leaders.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(180);

/// Interval of looks whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a cluster consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    nodes: usize,
    shards: u32,
    replicas: u32,
}

impl Shape {
    /// Three nodes with a replica each of one shard: enough where one campaign is measured at a time.
    pub(crate) const ONE_SHARD: Self = Self { nodes: 3, shards: SHARD, replicas: 3 };

    /// Three nodes with a replica each of as many shards as a cluster has by default.
    pub(crate) const DEFAULT: Self = Self { nodes: 3, shards: 16, replicas: 3 };

    /// Nodes of which each holds the one replica of a shard of its own: `shards` of them, and before them one with the
    /// meta shard and a first shard, which [`Placement`](super::placement::Placement) can leave without campaigns.
    pub(crate) fn shard_per_node(shards: u32) -> Self {
        let all = shards + 1;
        Self { nodes: all as usize, shards: all, replicas: 1 }
    }
}

/// A running cluster. Dropping it kills its processes.
#[derive(Debug)]
pub(crate) struct Cluster {
    program: PathBuf,
    dir: PathBuf,
    nodes: Vec<Process>,
    addresses: Vec<String>,
    node_addresses: String,
    router: Process,
    router_address: String,
    shards: u32,
}

impl Cluster {
    /// Starts a cluster with its files below `dir`, and waits until it is whole.
    pub(crate) async fn start(program: &Path, dir: &Path, shape: Shape) -> anyhow::Result<Self> {
        let ports = ports::free(shape.nodes)?;
        let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let node_addresses = addresses.join(",");
        let mut nodes = Vec::new();
        for (id, address) in (1..).zip(&addresses) {
            nodes.push(start_node(program, dir, id, address, &node_addresses)?);
        }
        let (shard_count, replicas) = (shape.shards.to_string(), shape.replicas.to_string());
        let mut args = vec!["cluster", "init", "--nodes", &node_addresses];
        args.extend(["--shards", &shard_count, "--replication", &replicas]);
        let formed = output(command(program, &args))?;
        if !formed.status.success() {
            bail!("coupon cluster init: {}", String::from_utf8_lossy(&formed.stderr));
        }
        let args = ["router", "--listen", "127.0.0.1:0", "--nodes", &node_addresses];
        let router = Process::start(command(program, &args), &dir.join("router.log"))?;
        let router_address = router.address()?;
        let program = program.to_owned();
        let dir = dir.to_owned();
        let shards = shape.shards;
        let cluster =
            Self { program, dir, nodes, addresses, node_addresses, router, router_address, shards };
        cluster.wait_until_whole().await?;
        Ok(cluster)
    }

    /// The router's address.
    pub(crate) fn router_address(&self) -> &str {
        &self.router_address
    }

    /// Number of shards that own campaigns.
    pub(crate) fn shards(&self) -> u32 {
        self.shards
    }

    /// The router's process id.
    pub(crate) fn router_id(&self) -> u32 {
        self.router.id()
    }

    /// The nodes' process ids.
    pub(crate) fn node_ids(&self) -> Vec<u32> {
        self.nodes.iter().map(Process::id).collect()
    }

    /// The index of the last log entry that the one shard of [`Shape::ONE_SHARD`] has applied.
    pub(crate) fn applied_index(&self) -> anyhow::Result<u64> {
        status::applied_index(&status::ask(&self.program, &self.node_addresses)?, SHARD)
    }

    /// Why it is not as it was, if a process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.nodes.iter_mut().chain([&mut self.router]).try_for_each(Process::check)
    }

    /// The directory with the data of a node, from 0.
    pub(crate) fn data(&self, node: usize) -> PathBuf {
        data(&self.dir, node + 1)
    }

    /// Kills all nodes at once, and starts them again.
    pub(crate) fn kill_all_and_start(&mut self) -> anyhow::Result<()> {
        self.nodes.clear();
        for (id, address) in (1..).zip(&self.addresses) {
            let args = (&self.program, &self.dir, id, address, &self.node_addresses);
            self.nodes.push(start_node(args.0, args.1, args.2, args.3, args.4)?);
        }
        Ok(())
    }

    /// Stops the last node, in the way that a planned restart does.
    pub(crate) fn stop_last(&mut self) -> anyhow::Result<()> {
        self.nodes.pop().context("the last node runs")?.stop()
    }

    /// Starts the last node again.
    pub(crate) fn start_last(&mut self) -> anyhow::Result<()> {
        let id = self.addresses.len();
        let address = self.addresses.last().context("there are nodes")?;
        let node = start_node(&self.program, &self.dir, id, address, &self.node_addresses)?;
        self.nodes.push(node);
        Ok(())
    }

    /// Waits until every shard has a leader and followers that keep up.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) async fn wait_until_whole(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + WHOLE_TIMEOUT;
        loop {
            let status = status::ask(&self.program, &self.node_addresses);
            if status.as_ref().is_ok_and(status::is_whole) {
                return Ok(());
            }
            if Instant::now() > deadline {
                status.context("the cluster did not form")?;
                bail!("the cluster has no leaders after {WHOLE_TIMEOUT:?}");
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

fn data(dir: &Path, id: usize) -> PathBuf {
    dir.join(format!("node-{id}"))
}

fn start_node(
    program: &Path,
    dir: &Path,
    id: usize,
    address: &str,
    join: &str,
) -> anyhow::Result<Process> {
    let data = data(dir, id);
    let (id_text, data) = (id.to_string(), data.to_string_lossy());
    let mut args = vec!["node", "--node-id", &id_text, "--data", &data];
    args.extend(["--listen", address, "--join", join]);
    // A busy machine lets clocks be read late.
    args.extend(["--max-clock-offset", "5s"]);
    let node = Process::start(command(program, &args), &dir.join(format!("node-{id}.log")))?;
    node.address()?;
    Ok(node)
}
