//! A cluster of fake nodes that share one ledger and misbehave on command.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{NodeId, NodeIdentity};
use coupon_proto::internal::cluster_service_server::ClusterServiceServer;
use coupon_proto::internal::shard_service_server::ShardServiceServer;
use coupon_proto::internal::{CodeKey, NodeInfo, ReplicaInfo, ShardInfo, ShardMap};
use coupon_transport::{Answerer, AnswererLayer};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::fake_node::FakeNode;
use super::state::{Seen, Shared, State, Trick};

/// The default cluster of fake nodes.
pub const CLUSTER_ID: &str = "a2f1c7f2-2b0e-4c41-a6f5-6d1c7d9f1e10";

/// Some nodes and what they share.
pub struct FakeCluster {
    state: Shared,
    map: Arc<watch::Sender<ShardMap>>,
    answerers: Vec<Answerer>,
    /// Counts how many times a node moved to another cluster.
    turns: Arc<watch::Sender<u64>>,
    servers: Vec<AbortHandle>,
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.servers.iter().for_each(AbortHandle::abort);
    }
}

impl FakeCluster {
    /// Nodes 1 to `nodes` with a replica of each shard; node 1 leads them all.
    pub async fn start(nodes: u64, shards: &[u32]) -> Self {
        let addresses: Vec<_> = (0..nodes).map(|_| "127.0.0.1:0".to_owned()).collect();
        Self::at(CLUSTER_ID, &addresses, shards).await
    }

    /// Nodes of a cluster, one at each address.
    pub async fn at(cluster_id: &str, addresses: &[String], shards: &[u32]) -> Self {
        let nodes = addresses.len() as u64;
        let mut map = ShardMap {
            cluster_id: cluster_id.to_owned(),
            version: 1,
            epoch: 1,
            ring_shards: shards.to_vec(),
            code_keys: vec![CodeKey { key_id: 1, secret: vec![7; 32] }],
            ..Default::default()
        };
        // The meta shard is 0.
        map.shards = std::iter::once(&0)
            .chain(shards)
            .map(|shard| {
                let replica = |node_id| ReplicaInfo { replica_id: node_id, node_id, role: 1 };
                ShardInfo { shard_id: *shard, replicas: (1..=nodes).map(replica).collect() }
            })
            .collect();
        let state = Arc::new(Mutex::new(State::default()));
        let mut listeners = Vec::new();
        for (node_id, address) in (1..).zip(addresses) {
            let listener = TcpListener::bind(address).await.expect("loopback has ports");
            let address = listener.local_addr().expect("it is bound").to_string();
            let store_id = format!("{cluster_id}-store-{node_id}");
            map.nodes.push(NodeInfo { node_id, address, store_id, ..NodeInfo::default() });
            listeners.push((node_id, listener));
        }
        let map = Arc::new(watch::Sender::new(map));
        let turns = Arc::new(watch::Sender::new(0));
        let mut answerers = Vec::new();
        let servers = listeners.into_iter().map(|(node_id, listener)| {
            let identity = NodeIdentity {
                cluster_id: cluster_id.to_owned(),
                node_id: NodeId::new(node_id).expect("node ids begin with 1"),
                store_id: format!("{cluster_id}-store-{node_id}"),
            };
            let answerer = Answerer::new(identity).expect("headers carry these ids");
            let layer = AnswererLayer::new(answerer.clone());
            answerers.push(answerer.clone());
            let (state, map, turns) = (Arc::clone(&state), Arc::clone(&map), Arc::clone(&turns));
            let node = FakeNode { node_id, answerer, state, map, turns };
            let server = Server::builder()
                .layer(layer)
                .add_service(ShardServiceServer::new(node.clone()))
                .add_service(ClusterServiceServer::new(node))
                .serve_with_incoming(TcpIncoming::from(listener));
            tokio::spawn(server).abort_handle()
        });
        let servers = servers.collect();
        Self { servers, state, map, answerers, turns }
    }

    /// Moves a node to another cluster, as if a node of that one had taken its port: open streams end, and
    /// new calls are refused.
    pub fn turn(&self, node_id: u64, cluster_id: &str) {
        let index = usize::try_from(node_id - 1).expect("there are few nodes");
        self.answerers[index].join(cluster_id).expect("headers carry it");
        self.turns.send_modify(|turns| *turns += 1);
    }

    pub fn address(&self, node_id: u64) -> String {
        let map = self.map.borrow();
        let node = map.nodes.iter().find(|node| node.node_id == node_id);
        node.expect("the node exists").address.clone()
    }

    /// Makes another node lead; 0 none.
    pub fn lead(&self, node_id: u64) {
        self.state.lock().leader = node_id;
    }

    /// Lets a node answer nothing any more, on connections that stay open.
    pub fn pause(&self, node_id: u64) {
        self.state.lock().paused.insert(node_id);
    }

    /// Lets a node that was paused answer what comes from now on.
    pub fn resume(&self, node_id: u64) {
        self.state.lock().paused.remove(&node_id);
    }

    /// Takes the leaders of some shards away, and gives those of all others back. Only reads notice.
    pub fn lose(&self, shards: impl IntoIterator<Item = u32>) {
        self.state.lock().lost = shards.into_iter().collect();
    }

    /// Lets a shard answer no read any more.
    pub fn hang(&self, shard: u32) {
        self.state.lock().hung.insert(shard);
    }

    /// Waits until at least `count` reads at a time are kept waiting.
    pub async fn until_hanging(&self, count: usize) {
        self.until(|state| state.hanging >= count).await;
    }

    /// Makes leaders slow: each batch takes them so long. They still say that they lead.
    pub fn slow_down(&self, by: Duration) {
        let mut state = self.state.lock();
        (state.slow_by, state.assures) = (by, true);
    }

    pub fn play(&self, tricks: impl IntoIterator<Item = Trick>) {
        self.state.lock().tricks.extend(tricks);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// The command that reached a node last.
    pub fn last_seen(&self) -> Seen {
        self.state.lock().seen.last().expect("a command was sent").clone()
    }

    /// How many reads went to the leader through another node.
    pub fn passed_on(&self) -> usize {
        self.state.lock().passed_on
    }

    /// How many parts of streams of coupons were read.
    pub fn parts_read(&self) -> usize {
        self.state.lock().parts
    }

    /// How many questions were answered.
    pub fn reads(&self) -> usize {
        self.state.lock().reads
    }

    /// Forgets what coupons were at earlier revisions.
    pub fn forget_revisions(&self) {
        self.state.lock().ledger.knows_revisions = false;
    }

    /// Waits until at least `count` commands have reached nodes.
    pub async fn until_seen(&self, count: usize) {
        self.until(|state| state.seen.len() >= count).await;
    }

    /// Waits until nodes have refused `count` more times because they do not lead.
    pub async fn until_refused(&self, count: usize) {
        let before = self.state.lock().refused;
        self.until(|state| state.refused >= before + count).await;
    }

    async fn until(&self, enough: impl Fn(&State) -> bool) {
        let mut progress = self.state.lock().progress.subscribe();
        while !enough(&self.state.lock()) {
            progress.changed().await.expect("the state lives as long as the cluster");
        }
    }

    /// Lets the shards continue from a backup.
    pub fn restore(&self) {
        self.state.lock().ledger.history_id += 1;
    }

    /// Lets the shards go to an epoch of which no map tells yet.
    pub fn fence(&self, epoch: u64) {
        self.state.lock().ledger.epoch = epoch;
    }

    /// Changes the map and shows the change to all watchers.
    pub fn change_map(&self, change: impl FnOnce(&mut ShardMap)) {
        self.map.send_modify(|map| {
            map.version += 1;
            change(map);
        });
    }

    /// Lets log time pass in the answers to requests for holds.
    pub fn pass_time_of_holds(&self, micros: u64) {
        self.state.lock().ledger.holds.answered_micros += micros;
    }

    /// Changes the map without showing the change to anybody who watches it.
    pub fn change_map_unseen(&self, change: impl FnOnce(&mut ShardMap)) {
        let mut map = self.map.borrow().clone();
        map.version += 1;
        change(&mut map);
        self.state.lock().unseen_map = Some(map);
    }

    /// How many times the meta shard was asked for the map.
    pub fn maps_read(&self) -> usize {
        self.state.lock().maps_read
    }

    /// Issues the first `count` coupons of a campaign.
    pub fn fill(&self, campaign_id: &str, count: u64) {
        self.state.lock().ledger.fill(&format!("default/{campaign_id}"), count);
    }

    /// How many coupons of a campaign exist.
    pub fn issued(&self, campaign_id: &str) -> usize {
        self.state
            .lock()
            .ledger
            .export(&format!("default/{campaign_id}"))
            .map_or(0, |(_, coupons)| coupons.len())
    }
}
