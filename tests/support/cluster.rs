//! Three nodes and a router, each a process of its own.

use std::path::{Path, PathBuf};

use coupon_admin::ClusterStatus;
use coupon_cluster::{CampaignName, Epoch, NodeId, Ring, ShardId, TenantId};
use coupon_transport::{Addressed, AddressedChannel, Addressee};
use rustix::process::Signal;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::ports;
use super::process::{Process, coupon, run};
use super::status;
use super::store;
use super::wait::until;

/// How many nodes a cluster has.
const NODES: u64 = 3;

/// How many shards own campaigns.
const SHARDS: u32 = 2;

/// The variable that turns a deliberate fault on, in programs that have any.
const MUTANT: &str = "COUPON_MUTANT";

/// A cluster. Dropping it kills its processes and removes its files.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    /// The router's address.
    pub(crate) router: String,
    router_process: Process,
    // Dropped last, when nobody writes to it any more.
    dir: TempDir,
}

struct Node {
    id: u64,
    args: Vec<String>,
    mutant: Option<String>,
    data: PathBuf,
    log: PathBuf,
    address: String,
    process: Option<Process>,
}

impl Node {
    fn start(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut command = coupon(&args);
        command.envs(self.mutant.as_ref().map(|name| (MUTANT, name)));
        self.process = Some(Process::start(command, &self.log));
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the node runs")
    }
}

impl Cluster {
    /// Starts a cluster whose nodes have `flags`, and waits until it is whole.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_with(None, flags).await
    }

    /// The same with a deliberate fault in every node.
    pub(crate) async fn start_with(mutant: Option<&str>, flags: &[&str]) -> Self {
        let shards = SHARDS.to_string();
        let init = ["cluster", "init", "--shards", &shards];
        Self::form(mutant, flags, &init).await
    }

    /// A cluster with this many shards that own campaigns, whose nodes have `flags`.
    pub(crate) async fn with_shards(shards: u32, flags: &[&str]) -> Self {
        let shards = shards.to_string();
        Self::form(None, flags, &["cluster", "init", "--shards", &shards]).await
    }

    /// A cluster that is restored from a backup.
    pub(crate) async fn restored(backup: &Path) -> Self {
        let backup = backup.to_string_lossy();
        Self::form(None, &[], &["restore", "--from", &backup]).await
    }

    /// A cluster whose nodes a command forms into one.
    async fn form(mutant: Option<&str>, flags: &[&str], command: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let addresses: Vec<String> =
            (0..NODES).map(|_| format!("127.0.0.1:{}", ports::free())).collect();
        let join = addresses.join(",");
        let mut nodes = Vec::new();
        for (id, address) in (1..).zip(&addresses) {
            let data = dir.path().join(format!("node-{id}"));
            let log = dir.path().join(format!("node-{id}.log"));
            let id_text = id.to_string();
            let data_text = data.to_string_lossy();
            let mut args = vec!["node", "--node-id", &id_text, "--data", &data_text];
            // A busy machine lets clocks be read late.
            args.extend(["--listen", address, "--join", &join, "--max-clock-offset", "5s"]);
            args.extend(flags);
            let args = args.into_iter().map(str::to_owned).collect();
            let (mutant, address) = (mutant.map(str::to_owned), address.clone());
            let mut node = Node { id, args, mutant, data, log, address, process: None };
            node.start();
            nodes.push(node);
        }
        let formed = run(&[command, &["--nodes", &join]].concat());
        assert!(formed.status.success(), "{}", String::from_utf8_lossy(&formed.stderr));
        let (router, router_process) = start_router(&join, &dir.path().join("router.log"));
        let cluster = Self { nodes, router, router_process, dir };
        cluster.whole().await;
        cluster
    }

    /// Forms a new cluster of the same nodes, which run and have lost their data.
    pub(crate) async fn init_again(&self) {
        init(&self.addresses().join(","), &SHARDS.to_string());
        self.whole().await;
    }

    /// Starts another router. Returns it and its address.
    pub(crate) fn another_router(&self) -> (String, Process) {
        start_router(&self.addresses().join(","), &self.dir.path().join("another-router.log"))
    }

    /// The router's process.
    pub(crate) fn router_process(&mut self) -> &mut Process {
        &mut self.router_process
    }

    /// Where files of the test may be kept.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A connection to the router, a new one.
    pub(crate) fn connect(&self) -> Channel {
        connect(&self.router)
    }

    /// A new connection to a node, addressed as `status` names it.
    pub(crate) fn connect_to(&self, node_id: u64, status: &ClusterStatus) -> AddressedChannel {
        let node = status.nodes.iter().find(|node| node.node_id == node_id);
        let store_id = &node.expect("the node is in the map").store_id;
        let id = NodeId::new(node_id).expect("node ids begin with 1");
        let to = Addressee::new(&status.cluster_id, id, store_id).expect("these are UUIDs");
        Addressed::new(connect(&self.node(node_id).address), to)
    }

    /// The addresses of all nodes.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// Waits until every node is up and every replica has caught up.
    pub(crate) async fn whole(&self) -> ClusterStatus {
        self.status("the cluster to be whole", false, status::is_whole).await
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn status(
        &self,
        what: &str,
        digests: bool,
        is_it: impl Fn(&ClusterStatus) -> bool,
    ) -> ClusterStatus {
        let addresses = self.addresses();
        until(what, async || status::ask(&addresses, digests).await.filter(&is_it)).await
    }

    /// Waits until a shard has a leader, and says which node that is.
    pub(crate) async fn leader_of(&self, shard_id: u32) -> u64 {
        let is_led = |status: &ClusterStatus| {
            status.shard(shard_id).expect("the shard is in the map").leader_node_id.is_some()
        };
        let status = self.status("a leader", false, is_led).await;
        status
            .shard(shard_id)
            .expect("the shard is in the map")
            .leader_node_id
            .expect("it was waited for")
    }

    /// The shard that owns a campaign.
    pub(crate) fn shard_of(campaign_id: &str) -> u32 {
        let shards = (1..=SHARDS).map(|id| ShardId::new(id).expect("a small number"));
        let ring = Ring::new(Epoch(1), shards).expect("there are shards");
        ring.owner(&CampaignName::new(&TenantId::default(), campaign_id).expect("an id")).get()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, node_id: u64) {
        let node = self.node_mut(node_id);
        node.process().kill();
        node.process = None;
    }

    /// kill -9 of all nodes, all of them before any is waited for.
    pub(crate) fn kill_all(&mut self) {
        for node in &mut self.nodes {
            node.process().signal(Signal::KILL);
        }
        for node in &mut self.nodes {
            node.process().wait();
            node.process = None;
        }
    }

    /// A node that was not told to end and has ended all the same.
    pub(crate) fn ended_by_itself(&mut self) -> Option<u64> {
        let running =
            self.nodes.iter_mut().filter_map(|node| Some((node.id, node.process.as_mut()?)));
        let mut ended = running.filter_map(|(id, process)| (!process.is_running()).then_some(id));
        ended.next()
    }

    /// A node's data directory.
    pub(crate) fn data_of(&self, node_id: u64) -> &Path {
        &self.node(node_id).data
    }

    /// What a node logged.
    pub(crate) fn log_of(&self, node_id: u64) -> String {
        std::fs::read_to_string(&self.node(node_id).log).unwrap_or_default()
    }

    /// Asks a node to stop and waits until it has. Returns whether it was content with that.
    pub(crate) async fn stop(&mut self, node_id: u64) -> bool {
        let node = self.node_mut(node_id);
        let mut process = node.process.take().expect("the node runs");
        process.signal(Signal::TERM);
        let ended = tokio::task::spawn_blocking(move || process.wait());
        ended.await.expect("it does not panic").success()
    }

    /// Starts a node that was killed or stopped, at its old address.
    pub(crate) fn restart(&mut self, node_id: u64) {
        self.node_mut(node_id).start();
    }

    /// Takes a stopped node's data away. Returns where it is now.
    pub(crate) fn wipe(&mut self, node_id: u64) -> PathBuf {
        let away = self.dir.path().join(format!("node-{node_id}-old"));
        let node = self.node_mut(node_id);
        assert!(node.process.is_none(), "the node still runs");
        std::fs::rename(&node.data, &away).expect("move the data away");
        away
    }

    /// Copies a stopped node's data. Returns where the copy is.
    pub(crate) fn copy_data(&self, node_id: u64, name: &str) -> PathBuf {
        let copy = self.dir.path().join(name);
        let node = self.node(node_id);
        assert!(node.process.is_none(), "the node still runs");
        store::copy(&node.data, &copy);
        copy
    }

    /// Starts another process with a node's settings, on another directory and port. Returns it and its
    /// address.
    pub(crate) fn start_beside(&self, node_id: u64, data: &std::path::Path) -> (Process, String) {
        let address = format!("127.0.0.1:{}", ports::free());
        let mut args = self.node(node_id).args.clone();
        set(&mut args, "--data", &data.to_string_lossy());
        set(&mut args, "--listen", &address);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        (Process::start(coupon(&args), &data.with_extension("log")), address)
    }

    /// Starts a node that the cluster does not have yet.
    pub(crate) fn add(&mut self, node_id: u64) {
        let first = self.node(1);
        let data = self.dir.path().join(format!("node-{node_id}"));
        let address = format!("127.0.0.1:{}", ports::free());
        let mut args = first.args.clone();
        set(&mut args, "--node-id", &node_id.to_string());
        set(&mut args, "--data", &data.to_string_lossy());
        set(&mut args, "--listen", &address);
        let log = self.dir.path().join(format!("node-{node_id}.log"));
        let mut node = Node { id: node_id, args, mutant: None, data, log, address, process: None };
        node.start();
        self.nodes.push(node);
    }

    /// Starts a stopped node under another id, at the same address, on an empty directory.
    pub(crate) fn rename(&mut self, node_id: u64, new_id: u64) {
        let data = self.dir.path().join(format!("node-{new_id}"));
        let node = self.node_mut(node_id);
        assert!(node.process.is_none(), "the node still runs");
        set(&mut node.args, "--node-id", &new_id.to_string());
        set(&mut node.args, "--data", &data.to_string_lossy());
        (node.id, node.data) = (new_id, data);
    }

    /// Forgets a node that has ended.
    pub(crate) fn forget(&mut self, node_id: u64) {
        self.nodes.retain(|node| node.id != node_id);
    }

    /// Exchanges the addresses of two stopped nodes.
    pub(crate) fn exchange_addresses(&mut self, one: u64, other: u64) {
        let (first, second) = (self.node(one).address.clone(), self.node(other).address.clone());
        for (id, address) in [(one, second), (other, first)] {
            let node = self.node_mut(id);
            assert!(node.process.is_none(), "the node still runs");
            set(&mut node.args, "--listen", &address);
            node.address = address;
        }
    }

    /// Waits until a node that was started has ended by itself; returns what it exited with.
    pub(crate) async fn exit_code_of(&mut self, node_id: u64) -> Option<i32> {
        let node = self.node_mut(node_id);
        let process = node.process.as_mut().expect("it was started");
        let status = until("the node to end", async || process.try_wait()).await;
        node.process = None;
        status.code()
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self, node_id: u64) {
        self.node_mut(node_id).process().signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self, node_id: u64) {
        self.node_mut(node_id).process().signal(Signal::CONT);
    }

    fn node(&self, node_id: u64) -> &Node {
        let found = self.nodes.iter().find(|node| node.id == node_id);
        found.expect("there is such a node")
    }

    fn node_mut(&mut self, node_id: u64) -> &mut Node {
        let found = self.nodes.iter_mut().find(|node| node.id == node_id);
        found.expect("there is such a node")
    }
}

/// Gives a flag another value.
fn set(args: &mut [String], flag: &str, value: &str) {
    let place = args.iter().position(|arg| arg == flag).expect("the flag is there");
    args[place + 1] = value.to_owned();
}

fn init(nodes: &str, shards: &str) {
    let init = run(&["cluster", "init", "--nodes", nodes, "--shards", shards]);
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
}

fn start_router(nodes: &str, log: &Path) -> (String, Process) {
    let args = ["router", "--listen", "127.0.0.1:0", "--nodes", nodes];
    let mut router = Process::start(coupon(&args), log);
    (router.address(), router)
}

/// A new connection to an address.
pub(crate) fn connect(address: &str) -> Channel {
    coupon_client::endpoint(address).expect("an address").connect_lazy()
}
