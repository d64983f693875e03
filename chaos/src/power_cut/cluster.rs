//! Three nodes with a disk each, and a router.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use coupon_admin::ClusterStatus;
use coupon_checker::Replica;

use super::disk::Disk;
use super::error::PowerCutError;
use super::power;
use super::process::Process;
use crate::cluster::{ClusterError, at_rest};
use crate::nemesis::{NemesisError, run};

/// Number of nodes.
const NODES: usize = 3;

/// Number of shards, each with a replica on every node: several, which share a node's disk.
const SHARDS: &str = "4";

/// Number of entries that a shard keeps of its log: so few that cuts meet logs being purged.
const LOG_ENTRIES_KEPT: &str = "500";

/// How far clocks may seem to be apart: a busy machine lets them be read late.
const CLOCK_OFFSET_MAX: &str = "5s";

/// Maximum time of a command of the program: digests read all of the state.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum time until the new cluster serves.
const FORM_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of entries that a replica of a whole cluster may lag behind under load.
const LAG_MAX: u64 = 200;

/// Pause before it is asked once more whether it serves.
const PAUSE: Duration = Duration::from_millis(50);

/// First port that is tried. All lie below those that Linux gives to outgoing connections, where a
/// node's port could be taken while it is without power.
const PORT_FIRST: u16 = 10_000;

/// Number of ports that are tried.
const PORT_COUNT: u16 = 22_000;

/// A running cluster. Dropping it ends its processes and unmounts its disks.
pub(super) struct Cluster {
    program: PathBuf,
    /// The addresses of all nodes, with commas between them.
    addresses: String,
    router: Process,
    /// The address of the router.
    pub(super) router_address: String,
    nodes: Vec<Node>,
}

struct Node {
    id: u64,
    address: String,
    log: PathBuf,
    // Ends before its disk is unmounted.
    process: Option<Process>,
    disk: Disk,
}

impl Cluster {
    /// Starts one with its files in `dir`, and waits until it serves.
    ///
    /// # Errors
    /// When something of it cannot be had, or does not serve.
    pub(super) fn start(program: &Path, dir: &Path) -> Result<Self, PowerCutError> {
        let ports = free_ports(NODES + 1).ok_or(PowerCutError::NoPorts)?;
        let mut addresses: Vec<String> =
            ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let router_address = addresses.pop().ok_or(PowerCutError::NoPorts)?;
        let joined = addresses.join(",");
        let mut nodes = Vec::new();
        for (id, address) in (1..).zip(addresses) {
            let name = format!("node-{id}");
            let log = dir.join(format!("{name}.log"));
            let disk = Disk::make(dir, &name)?;
            let mut node = Node { id, address, log, process: None, disk };
            node.start(program, &joined)?;
            nodes.push(node);
        }
        let init =
            ["cluster", "init", "--nodes", &joined, "--shards", SHARDS, "--replication", "3"];
        let formed = run(Command::new(program).args(init), COMMAND_TIMEOUT);
        formed
            .and_then(|formed| formed.success())
            .map_err(PowerCutError::command("form the cluster"))?;
        let mut router = Command::new(program);
        router.args(["router", "--listen", &router_address, "--nodes", &joined]);
        let router = Process::start(&mut router, &dir.join("router.log"));
        let router = router.map_err(PowerCutError::system("start the router"))?;
        let program = program.to_owned();
        let cluster = Self { program, addresses: joined, router, router_address, nodes };
        cluster.wait_until_formed()?;
        Ok(cluster)
    }

    fn wait_until_formed(&self) -> Result<(), PowerCutError> {
        let deadline = Instant::now() + FORM_TIMEOUT;
        let health = ["health", &self.router_address, "--timeout", "1s"];
        loop {
            let router = run(Command::new(&self.program).args(health), COMMAND_TIMEOUT);
            let serves = router.is_ok_and(|router| router.is_success);
            if serves && self.is_whole() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(PowerCutError::NotFormed(FORM_TIMEOUT));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes the power of some nodes away, of all at the same moment.
    ///
    /// # Errors
    /// When the power of one of them is still there.
    pub(super) fn cut(&mut self, ids: &[u64]) -> Result<(), NemesisError> {
        let hit = self.nodes.iter().filter(|node| ids.contains(&node.id));
        power::cut(hit.filter_map(|node| Some((node.process.as_ref()?, &node.disk))))?;
        for node in self.nodes.iter_mut().filter(|node| ids.contains(&node.id)) {
            // It is dying, and gone when it is dropped.
            node.process = None;
        }
        Ok(())
    }

    /// Mounts the disks of some nodes again, and starts them.
    ///
    /// # Errors
    /// When a disk is broken, or a process cannot be started.
    pub(super) fn power_on(&mut self, ids: &[u64]) -> Result<(), PowerCutError> {
        for node in self.nodes.iter_mut().filter(|node| ids.contains(&node.id)) {
            node.disk.power_on()?;
        }
        for node in self.nodes.iter_mut().filter(|node| ids.contains(&node.id)) {
            node.start(&self.program, &self.addresses)?;
        }
        Ok(())
    }

    /// What it is like.
    ///
    /// # Errors
    /// When no node says so.
    pub(super) fn status(&self) -> Result<ClusterStatus, ClusterError> {
        self.ask(&["--timeout", "1s"])
    }

    /// Whether all nodes are up, and all replicas keep up.
    pub(super) fn is_whole(&self) -> bool {
        self.status().is_ok_and(|status| status.is_whole(LAG_MAX))
    }

    /// The digests of all replicas, when they have come to rest.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn digests(&self) -> Result<Vec<Replica>, ClusterError> {
        at_rest(|| self.ask(&["--digests"]))
    }

    fn ask(&self, more: &[&str]) -> Result<ClusterStatus, ClusterError> {
        let args = ["status", "--node", &self.addresses, "-o", "json"];
        // It fails, too, when something is wrong with the cluster, and has said everything by then.
        let answer = run(Command::new(&self.program).args(args).args(more), COMMAND_TIMEOUT)?;
        Ok(serde_json::from_str(&answer.stdout)?)
    }

    /// What no power cut excuses, in words: processes that ended by themselves, and stores that were put
    /// aside since they had lost what they had acknowledged.
    pub(super) fn faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(status) = self.router.ended() {
            faults.push(format!("the router ended by itself: {status}"));
        }
        for node in &mut self.nodes {
            let id = node.id;
            if let Some(status) = node.process.as_mut().and_then(Process::ended) {
                faults.push(format!("node {id} ended by itself: {status}"));
            }
            if node.has_lost_store() {
                faults.push(format!("the store of node {id} had lost what it had acknowledged"));
            }
        }
        faults
    }
}

impl Node {
    fn start(&mut self, program: &Path, join: &str) -> Result<(), PowerCutError> {
        let mut command = Command::new(program);
        command.args(["node", "--node-id", &self.id.to_string(), "--data"]).arg(self.data());
        command.args(["--listen", &self.address, "--join", join]);
        command.args(["--max-clock-offset", CLOCK_OFFSET_MAX]);
        command.args(["--log-entries-kept", LOG_ENTRIES_KEPT]);
        let process = Process::start(&mut command, &self.log);
        let what = || format!("start node {} with {}", self.id, program.display());
        self.process = Some(process.map_err(PowerCutError::system(what()))?);
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.disk.mount_point().join("data")
    }

    /// Whether the node has marked its store as lost, or put one aside.
    fn has_lost_store(&self) -> bool {
        let entries = std::fs::read_dir(self.data()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| {
            let name = name.to_string_lossy();
            name == "lost" || name.starts_with("lost-")
        })
    }
}

/// Free ports of 127.0.0.1.
fn free_ports(count: usize) -> Option<Vec<u16>> {
    let start = rand::random_range(0..PORT_COUNT);
    let all = (PORT_FIRST..PORT_FIRST + PORT_COUNT).cycle().skip(start.into());
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let found: Vec<u16> = all.take(PORT_COUNT.into()).filter(free).take(count).collect();
    (found.len() == count).then_some(found)
}
