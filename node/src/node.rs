//! A node: its storage, its identity, the replicas it runs, and how it joins a cluster.

mod stop;
mod stop_reason;

pub use stop_reason::StopReason;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{NodeId, NodeIdentity, ReplicaId, ReplicaRole, ShardId, ShardMap};
use coupon_env::Clock;
use coupon_proto::internal as pb;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_transport::Answerer;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::TrustedClock;
use crate::config::NodeConfig;
use crate::meta::follow;
use crate::meta::store::ShardMapStore;
use crate::peers::{Lane, Peers};
use crate::raft::replica::RaftReplica;
use crate::raft::restored;
use crate::shard::divergence::Divergence;
use crate::shard::proposer::Proposer;
use crate::shard::reconciler::{self, NodeContext};
use crate::shard::registry::{Registry, Replica};
use crate::storage::identity::{Identity, IdentityError};
use crate::storage::restore::Staging;
use crate::storage::snapshot::ReplicaKey;
use crate::storage::{Storage, StorageError, fatal, lost};
use crate::workers::Workers;

/// How long an initial replica waits for the one that is to lead a new group, before it begins the group itself.
const BOOTSTRAP_WAIT: Duration = Duration::from_secs(1);
/// How long a neighbour may take to say which cluster it is in.
const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(1);

/// A node without the server around it.
pub struct Node {
    /// Its settings.
    pub config: NodeConfig,
    /// Its clock.
    pub clock: TrustedClock,
    /// Its storage.
    pub storage: Storage,
    /// The shard map it knows.
    pub known: ShardMapStore,
    /// Its channels to other nodes.
    pub peers: Peers,
    /// The channels of its shards' replicas, by worker.
    shard_peers: Vec<Peers>,
    /// The threads that it is spread over.
    pub(crate) workers: Workers,
    /// Its identity for all services; follows `identity` below.
    pub answerer: Answerer,
    /// Its replicas.
    pub registry: Registry,
    /// Held while a cluster is formed.
    pub forming: tokio::sync::Mutex<()>,
    identity: Mutex<Identity>,
    /// Why replicas do not run yet; `None` once they may.
    waits_for: watch::Sender<Option<String>>,
    stopped: CancellationToken,
    refused: mpsc::Sender<StopReason>,
    /// The task that starts the replicas.
    replicas: Mutex<Option<JoinHandle<()>>>,
    address: String,
}

impl Node {
    /// Opens a node's data directory. Nothing runs yet. `refused` is told when the node finds out that
    /// it must not run.
    ///
    /// # Errors
    ///
    /// When the directory is another node's, or cannot be used.
    pub fn open(
        config: NodeConfig,
        local_addr: SocketAddr,
        clock: Arc<dyn Clock>,
        workers: Workers,
        refused: mpsc::Sender<StopReason>,
    ) -> Result<Self, IdentityError> {
        let mut identity = Identity::open(&config.data_dir, config.node_id)?;
        let storage = match Storage::open(&config.data_dir) {
            // It was just marked as lost; a fresh store replaces it.
            Err(lost @ StorageError::Lost { .. }) => {
                tracing::error!(%lost, "a fresh store replaces the lost one");
                identity = Identity::open(&config.data_dir, config.node_id)?;
                Storage::open(&config.data_dir)?
            }
            opened => opened?,
        };
        identity.check_database(&storage)?;
        let known = ShardMapStore::open(storage.clone())?;
        identity.begin()?;
        let map = known.get();
        if map.is_initialized() {
            // A crash may have come between the two steps of joining.
            identity.join(&map.cluster_id)?;
        }
        let waits_for = match map.is_initialized() {
            true => "it is not registered yet".to_owned(),
            false => "it is in no cluster yet".to_owned(),
        };
        let answerer = Answerer::new(NodeIdentity {
            cluster_id: identity.cluster_id().unwrap_or_default().to_owned(),
            node_id: config.node_id,
            store_id: identity.store_id().to_owned(),
        });
        let peers = Peers::new(known.subscribe());
        Ok(Self {
            answerer: answerer.map_err(malformed)?,
            address: config.advertise.clone().unwrap_or_else(|| local_addr.to_string()),
            shard_peers: (0..workers.number()).map(|_| peers.with_own_connections()).collect(),
            peers,
            workers,
            registry: Registry::default(),
            forming: tokio::sync::Mutex::new(()),
            identity: Mutex::new(identity),
            waits_for: watch::Sender::new(Some(waits_for)),
            stopped: CancellationToken::new(),
            refused,
            replicas: Mutex::new(None),
            clock: TrustedClock::new(clock, config.max_clock_offset),
            config,
            storage,
            known,
        })
    }

    /// Who this node is.
    pub fn identify(&self) -> pb::IdentifyResponse {
        let identity = self.identity.lock();
        // A successor of a lost store belongs to that store's cluster, and must not join another.
        let replaced = || identity.replaces().map(|(_, cluster_id)| cluster_id);
        let cluster_id = identity.cluster_id().or_else(replaced);
        pb::IdentifyResponse {
            node_id: self.config.node_id.get(),
            address: self.address.clone(),
            store_id: identity.store_id().to_owned(),
            cluster_id: cluster_id.unwrap_or_default().to_owned(),
            clock_micros: self.clock.now_micros(),
            start_id: identity.start_id().to_owned(),
        }
    }

    /// Why the replicas of this node do not run yet; `None` once they may.
    pub fn waits_for(&self) -> Option<String> {
        self.waits_for.borrow().clone()
    }

    /// The same, now and whenever it changes.
    pub fn watch_waiting(&self) -> watch::Receiver<Option<String>> {
        self.waits_for.subscribe()
    }

    /// Notes what the node waits for, unless replicas run already.
    pub(crate) fn wait_for(&self, what: String) {
        let why = self.identity.lock().why_replaced();
        let what = match why {
            Some(why) => format!("{what}; it replaces a store that lost writes: {why}"),
            None => what,
        };
        self.waits_for.send_if_modified(|waits| match waits {
            Some(known) if *known != what => {
                *known = what;
                true
            }
            Some(_) | None => false,
        });
    }

    /// Lets the replicas run.
    pub(crate) fn admit(&self) {
        self.waits_for.send_replace(None);
    }

    /// Whether replicas may run.
    pub(crate) fn is_admitted(&self) -> bool {
        self.waits_for.borrow().is_none()
    }

    /// Marks the store as lost. A disk that fails ends the process.
    pub(crate) fn mark_lost(&self, why: &str) {
        if let Err(fault) = lost::mark(&self.config.data_dir, why) {
            fatal::abort("marking this store as lost", &fault);
        }
    }

    /// The last known addresses of nodes of the cluster.
    pub(crate) fn peers_kept(&self) -> Vec<String> {
        self.identity.lock().peers().to_vec()
    }

    /// Whether a map lists this node at its address, with this store and this start.
    pub(crate) fn is_registered(&self, map: &ShardMap) -> bool {
        let me = self.identify();
        map.nodes.get(&self.config.node_id).is_some_and(|node| {
            node.address == me.address
                && node.store_id == me.store_id
                && node.start_id == me.start_id
        })
    }

    /// The registration for the meta shard.
    pub(crate) fn registration(&self) -> pb::RegisterNodeRequest {
        let me = self.identify();
        let identity = self.identity.lock();
        let replaced = identity.replaces().filter(|_| identity.cluster_id().is_none());
        let replaces_store_id = replaced.map_or("", |(store_id, _)| store_id).to_owned();
        pb::RegisterNodeRequest {
            cluster_id: me.cluster_id,
            node: Some(pb::NodeInfo {
                node_id: me.node_id,
                address: me.address,
                store_id: me.store_id,
                start_id: me.start_id,
            }),
            known_start_ids: identity.known_starts(),
            replaces_store_id,
        }
    }

    /// The announcement for the other nodes while the meta shard cannot register this start.
    pub(crate) fn announcement(&self) -> pb::AnnounceRequest {
        let me = self.identify();
        pb::AnnounceRequest {
            cluster_id: me.cluster_id,
            node: Some(pb::NodeInfo {
                node_id: me.node_id,
                address: me.address,
                store_id: me.store_id,
                start_id: me.start_id,
            }),
            known_start_ids: self.identity.lock().known_starts(),
            map_version: self.known.get().version,
        }
    }

    /// Joins the cluster of a map that names this node's store, durably.
    ///
    /// # Errors
    ///
    /// When the data directory belongs to another cluster. A disk that fails ends the process.
    pub async fn adopt(&self, map: &Arc<ShardMap>) -> Result<(), IdentityError> {
        self.identity.lock().check_cluster(&map.cluster_id)?;
        // The map first: with it, a directory that was not stamped in time is at the next start.
        let learned = self.known.learn(map).await;
        match learned.map_err(IdentityError::from).and_then(|()| self.stamp(&map.cluster_id)) {
            Err(IdentityError::Storage(fault)) => fatal::abort("joining a cluster", &fault),
            joined => joined,
        }
    }

    fn stamp(&self, cluster_id: &str) -> Result<(), IdentityError> {
        let mut identity = self.identity.lock();
        identity.join(cluster_id)?;
        // Under the lock: a node that has heard of this membership may call at once.
        self.answerer.join(cluster_id).map_err(malformed)
    }

    /// Refuses a start with a directory of another cluster than that of the nodes it is told to
    /// join: whoever did this mistook a directory or an address.
    ///
    /// # Errors
    ///
    /// When a node that answers belongs to another cluster, and none of this one does.
    pub async fn check_neighbours(&self) -> Result<(), IdentityError> {
        let Some(ours) = self.identity.lock().cluster_id().map(str::to_owned) else {
            return Ok(());
        };
        let others = self.config.join.iter().filter(|address| **address != self.address);
        let mut asked: FuturesUnordered<_> =
            others.map(|address| self.cluster_at(address.clone())).collect();
        let mut foreign = None;
        // Neighbours may be away; they are asked for what they know, not needed.
        while let Some(cluster) = asked.next().await {
            match cluster {
                Some(theirs) if theirs == ours => return Ok(()),
                Some(theirs) if !theirs.is_empty() => foreign = Some(theirs),
                Some(_) | None => {}
            }
        }
        let Some(wanted) = foreign else { return Ok(()) };
        Err(IdentityError::OtherCluster { dir: self.config.data_dir.clone(), found: ours, wanted })
    }

    /// The cluster that the node at an address is in; `None` when it does not answer.
    async fn cluster_at(&self, address: String) -> Option<String> {
        let channel = self.peers.channel_to(address, Lane::Control)?;
        let mut client = ClusterServiceClient::new(channel);
        let asked = client.identify(pb::IdentifyRequest {});
        let answer = tokio::time::timeout(NEIGHBOUR_TIMEOUT, asked).await.ok()?.ok()?;
        Some(answer.into_inner().cluster_id)
    }

    /// Starts everything that runs besides the server.
    pub fn run(self: &Arc<Self>) {
        let me = self.config.node_id;
        self.spawn(crate::clock::watch_peers(me, self.clock.clone(), self.peers.clone()));
        self.spawn(follow::follow_peers(me.get(), self.peers.clone(), self.known.clone()));
        self.spawn(self.clone().register());
        *self.replicas.lock() = Some(tokio::spawn(self.clone().run_replicas()));
    }

    /// Runs a task until the node stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Ends everything that serves others, and says why this node must not run.
    pub(crate) fn refuse(&self, refused: StopReason) {
        self.registry.close();
        self.begin_stop();
        // The first reason is enough.
        let _ = self.refused.try_send(refused);
    }

    /// Runs the replicas that the map gives this node, until it stops. Never ends while one of them is
    /// being started.
    async fn run_replicas(self: Arc<Self>) {
        let mut maps = self.known.subscribe();
        let mut waiting = self.watch_waiting();
        loop {
            let map = maps.borrow_and_update().clone();
            if let Err(refused) = self.check_place(&map) {
                return self.refuse(refused);
            }
            let may_run = waiting.borrow_and_update().is_none();
            for shard in map.shards.keys().filter(|_| may_run) {
                if self.stopped.is_cancelled() {
                    return;
                }
                let wanted = map.replica_on(self.config.node_id, *shard);
                let running = self.registry.occupant(*shard);
                if running.is_some()
                    && running != wanted
                    && let Some(old) = self.registry.remove(*shard)
                {
                    old.raft.stop().await;
                }
                if let Some(replica) = wanted.filter(|wanted| running != Some(*wanted)) {
                    self.start_on_worker(&map, *shard, replica).await;
                }
            }
            if may_run
                && map.is_initialized()
                && let Err(fault) = Staging::new(&self.config.data_dir).clear()
            {
                // The restored states are of no use any more, and nothing depends on them.
                tracing::warn!(%fault, "restored states of shards could not be removed");
            }
            tokio::select! {
                () = self.stopped.cancelled() => return,
                changed = maps.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                // This node holds the sender.
                _ = waiting.changed() => {}
            }
        }
    }

    /// Whether a map still has a place for this process.
    fn check_place(&self, map: &ShardMap) -> Result<(), StopReason> {
        let mut identity = self.identity.lock();
        // A store that is in no cluster has no place yet.
        if identity.cluster_id() != Some(&map.cluster_id) {
            return Ok(());
        }
        let mine = map.nodes.get(&self.config.node_id).ok_or(StopReason::Removed)?;
        if mine.store_id != identity.store_id() {
            return Err(StopReason::Replaced);
        }
        if !identity.remembers(&mine.start_id) {
            // Before replicas run it is for the meta shard to say what that means.
            return match self.is_admitted() {
                true => Err(StopReason::Superseded(mine.address.clone())),
                false => Ok(()),
            };
        }
        let peers: Vec<String> = map.nodes.values().map(|node| node.address.clone()).collect();
        let noted = identity.confirm(&mine.start_id).and_then(|()| identity.note_peers(&peers));
        if let Err(fault) = noted {
            fatal::abort("noting that this start is registered", &fault);
        }
        Ok(())
    }

    /// Starts a replica on the worker of its shard. A fault ends the process.
    async fn start_on_worker(self: &Arc<Self>, map: &Arc<ShardMap>, shard: ShardId, id: ReplicaId) {
        let (this, map) = (self.clone(), map.clone());
        let worker = self.workers.runtime(self.workers.worker_of(shard));
        let starting = worker.spawn(async move { this.start_replica(&map, shard, id).await });
        let stopped = |error| StorageError::corrupt("start of a replica", error);
        if let Err(fault) = starting.await.map_err(stopped).flatten() {
            fatal::abort(&format!("starting the replica of shard {shard}"), &fault);
        }
    }

    async fn start_replica(
        &self,
        map: &ShardMap,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<(), StorageError> {
        let applied_map = (shard == ShardId::META).then(|| {
            let applied = watch::Sender::default();
            self.spawn(follow::follow_own_replica(applied.subscribe(), self.known.clone()));
            applied
        });
        let key = ReplicaKey { shard, replica };
        if self.divergence().resume(key)? {
            return Ok(());
        }
        restored::begin(&self.storage, self.config.data_dir.clone(), map, key).await?;
        let options = &self.config.raft;
        let peers = &self.shard_peers[self.workers.worker_of(shard)];
        let raft = RaftReplica::start(&self.storage, peers, key, applied_map, options).await?;
        let initial = map.initial_replicas(shard);
        // A group is founded by a map in which none of its first replicas was replaced: afterwards its
        // members are in its own log alone.
        let untouched = map.shards.get(&shard).into_iter().flatten().all(|(_, member)| {
            match member.role {
                ReplicaRole::Initial => true,
                // The meta shard is founded by one node, and the others join.
                ReplicaRole::Joining => shard == ShardId::META && map.version == 1,
                ReplicaRole::Voter | ReplicaRole::Leaving | ReplicaRole::Retiring => false,
            }
        });
        if untouched && initial.contains_key(&replica) {
            let goes_first = map.preferred_leader(shard) == Some(replica);
            self.spawn(bootstrap(raft.clone(), initial, goes_first));
        }
        let (divergence, difference) = (self.divergence(), raft.applied_digests.difference());
        self.spawn(async move { divergence.watch(key, difference).await });
        let (clock, storage) = (self.clock.clone(), self.storage.clone());
        let proposer = Proposer::start(raft.clone(), clock, storage, self.known.subscribe());
        let replica = Replica::new(raft, proposer);
        self.registry.insert(replica.clone());
        self.spawn(reconciler::run(self.context(peers), replica));
        Ok(())
    }

    /// A handle that stops replicas of shards with two histories.
    pub fn divergence(&self) -> Divergence {
        let (storage, peers) = (self.storage.clone(), self.peers.clone());
        Divergence::new(storage, peers, self.registry.clone(), self.stopping())
    }

    fn context(&self, peers: &Peers) -> NodeContext {
        NodeContext {
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            known: self.known.clone(),
            peers: peers.clone(),
            registry: self.registry.clone(),
            options: self.config.raft.clone(),
        }
    }
}

/// Begins a new group. The replica that is to lead it goes first: an election that another one holds late would
/// depose it.
async fn bootstrap(raft: RaftReplica, initial: BTreeMap<ReplicaId, NodeId>, goes_first: bool) {
    if !goes_first {
        raft.wait_for_leader(BOOTSTRAP_WAIT).await;
    }
    if let Err(error) = raft.bootstrap(&initial).await {
        tracing::warn!(shard = %raft.key.shard, %error, "could not bootstrap the shard");
    }
}

/// The error for an id that a header cannot carry. This program makes no such id.
fn malformed(error: coupon_transport::IdentityError) -> IdentityError {
    StorageError::corrupt("identity", error).into()
}
