//! A node: its storage, its identity, the replicas it runs, and how it joins a cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{ReplicaId, ReplicaRole, ShardId, ShardMap};
use coupon_proto::internal as pb;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_transport::{Answerer, NodeIdentity};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::clock::{Clock, TrustedClock};
use crate::config::NodeConfig;
use crate::meta::follow;
use crate::meta::known::KnownMap;
use crate::meta::wire;
use crate::raft::group::Group;
use crate::raft::network::{Lane, Peers};
use crate::shard::caretaker::{self, Surroundings};
use crate::shard::hand_over::hand_over;
use crate::shard::proposer::Proposer;
use crate::shard::registry::{Registry, Replica};
use crate::storage::identity::{Identity, IdentityError};
use crate::storage::snapshot::Owner;
use crate::storage::{Storage, StorageError, fatal};

/// The pause between two attempts to find a cluster.
const JOIN_INTERVAL: Duration = Duration::from_millis(300);
/// How long one node may take to answer while a cluster is looked for.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before a leadership is offered again that nobody could take.
const HAND_OVER_INTERVAL: Duration = Duration::from_millis(20);
/// How long a stopping node tries to hand leadership over; afterwards the others elect.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a running node must end, although nothing of it is broken: it runs on the wrong directory, or
/// calls the wrong cluster.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The cluster does not take it in.
    #[error("the cluster refuses this node: {0}")]
    ByCluster(String),
    /// Another directory was registered for the node since.
    #[error("this node's data directory was replaced by another one")]
    Replaced,
    /// The cluster that took it in is not the directory's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A node without the server around it.
pub struct Node {
    /// Its settings.
    pub config: NodeConfig,
    /// Its clock.
    pub clock: TrustedClock,
    /// Its storage.
    pub storage: Storage,
    /// The shard map it knows.
    pub known: KnownMap,
    /// Its channels to other nodes.
    pub peers: Peers,
    /// Who it is, for all that it serves: follows the identity below.
    pub answerer: Answerer,
    /// Its replicas.
    pub registry: Registry,
    /// Held while a cluster is formed.
    pub forming: tokio::sync::Mutex<()>,
    identity: Mutex<Identity>,
    stopped: CancellationToken,
    refused: mpsc::Sender<Refused>,
    /// Whoever starts the replicas.
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
        refused: mpsc::Sender<Refused>,
    ) -> Result<Self, IdentityError> {
        let mut identity = Identity::open(&config.data_dir, config.node_id)?;
        let storage = Storage::open(&config.data_dir)?;
        identity.check_database(&storage)?;
        let known = KnownMap::open(storage.clone())?;
        let map = known.get();
        if map.is_formed() {
            // A crash may have come between the two steps of joining.
            identity.join(&map.cluster_id)?;
        }
        let answerer = Answerer::new(NodeIdentity {
            cluster_id: identity.cluster_id().unwrap_or_default().to_owned(),
            node_id: config.node_id,
            store_id: identity.store_id().to_owned(),
        });
        Ok(Self {
            answerer: answerer.map_err(malformed)?,
            address: config.advertise.clone().unwrap_or_else(|| local_addr.to_string()),
            peers: Peers::new(known.subscribe()),
            registry: Registry::default(),
            forming: tokio::sync::Mutex::new(()),
            identity: Mutex::new(identity),
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
        pb::IdentifyResponse {
            node_id: self.config.node_id.get(),
            address: self.address.clone(),
            store_id: identity.store_id().to_owned(),
            cluster_id: identity.cluster_id().unwrap_or_default().to_owned(),
            clock_micros: self.clock.now_micros(),
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
        // Under the lock: whoever has heard that this node is a member may call it as one.
        self.answerer.join(cluster_id).map_err(malformed)
    }

    /// Refuses a start with a directory of another cluster than that of the nodes it is told to
    /// join: whoever did this mistook a directory or an address.
    ///
    /// # Errors
    ///
    /// When a node that answers belongs to another cluster.
    pub async fn check_neighbours(&self) -> Result<(), IdentityError> {
        let Some(ours) = self.identity.lock().cluster_id().map(str::to_owned) else {
            return Ok(());
        };
        for address in self.config.join.iter().filter(|address| **address != self.address) {
            let Some(channel) = self.peers.channel_to(address.clone(), Lane::Control) else {
                continue;
            };
            let mut client = ClusterServiceClient::new(channel);
            let asked = client.identify(pb::IdentifyRequest {});
            // Neighbours may be away; they are asked for what they know, not needed.
            if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(1), asked).await {
                let theirs = answer.into_inner().cluster_id;
                if !theirs.is_empty() && theirs != ours {
                    return Err(IdentityError::OtherCluster {
                        dir: self.config.data_dir.clone(),
                        found: ours,
                        wanted: theirs,
                    });
                }
            }
        }
        Ok(())
    }

    /// Starts everything that runs besides the server.
    pub fn run(self: &Arc<Self>) {
        let me = self.config.node_id;
        self.spawn(crate::clock::watch_peers(me, self.clock.clone(), self.peers.clone()));
        self.spawn(follow::follow_peers(me.get(), self.peers.clone(), self.known.clone()));
        self.spawn(self.clone().join_cluster());
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

    /// Looks for a cluster until one has this node and its address in its map.
    async fn join_cluster(self: Arc<Self>) {
        loop {
            let map = self.known.get();
            let listed = map.nodes.get(&self.config.node_id);
            let store_id = self.identity.lock().store_id().to_owned();
            if listed.is_some_and(|node| node.address == self.address && node.store_id == store_id)
            {
                return;
            }
            let known = map.nodes.values().map(|node| node.address.clone());
            let addresses: Vec<String> = self.config.join.iter().cloned().chain(known).collect();
            for address in addresses.into_iter().filter(|address| *address != self.address) {
                match self.register_at(address).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(refused) => return self.refuse(refused),
                }
            }
            tokio::time::sleep(JOIN_INTERVAL).await;
        }
    }

    /// Ends everything that serves others, and says why this node must not run.
    fn refuse(&self, refused: Refused) {
        self.begin_stop();
        // The first reason is enough.
        let _ = self.refused.try_send(refused);
    }

    /// Has a node of a cluster register this one. Returns whether it did.
    ///
    /// # Errors
    ///
    /// When the cluster, or this node's directory, refuses.
    async fn register_at(&self, address: String) -> Result<bool, Refused> {
        let Some(channel) = self.peers.channel_to(address, Lane::Control) else { return Ok(false) };
        let mut client = ClusterServiceClient::new(channel);
        let me = self.identify();
        let request = pb::RegisterNodeRequest {
            cluster_id: me.cluster_id,
            node: Some(pb::NodeInfo {
                node_id: me.node_id,
                address: me.address,
                store_id: me.store_id,
            }),
        };
        let answer = tokio::time::timeout(JOIN_TIMEOUT, client.register_node(request)).await;
        match answer {
            Ok(Ok(answer)) => {
                let Some(Ok(map)) = answer.into_inner().map.map(wire::map_from_pb) else {
                    tracing::warn!("a node registered this one and answered with a malformed map");
                    return Ok(false);
                };
                self.adopt(&Arc::new(map)).await?;
                Ok(true)
            }
            Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
                Err(Refused::ByCluster(status.message().to_owned()))
            }
            Ok(Err(status)) => {
                tracing::info!(why = status.message(), "not registered yet");
                Ok(false)
            }
            Err(_) => {
                tracing::info!("not registered yet: no answer in time");
                Ok(false)
            }
        }
    }

    /// Runs the replicas that the map gives this node, until it stops. Never ends while one of them is
    /// being started.
    async fn run_replicas(self: Arc<Self>) {
        let mut maps = self.known.subscribe();
        loop {
            let map = maps.borrow_and_update().clone();
            if let Some(mine) = map.nodes.get(&self.config.node_id)
                && mine.store_id != self.identity.lock().store_id()
            {
                return self.refuse(Refused::Replaced);
            }
            for shard in map.shards.keys() {
                if self.stopped.is_cancelled() {
                    return;
                }
                let wanted = map.replica_on(self.config.node_id, *shard);
                let running = self.registry.get(*shard).map(|replica| replica.group.owner.replica);
                if running.is_some()
                    && running != wanted
                    && let Some(old) = self.registry.remove(*shard)
                {
                    old.group.stop().await;
                }
                if let Some(replica) = wanted.filter(|wanted| running != Some(*wanted)) {
                    let started = self.start_replica(&map, *shard, replica).await;
                    if let Err(fault) = started {
                        fatal::abort(&format!("starting the replica of shard {shard}"), &fault);
                    }
                }
            }
            tokio::select! {
                () = self.stopped.cancelled() => return,
                changed = maps.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
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
        let owner = Owner { shard, replica };
        let options = &self.config.raft;
        let group = Group::start(&self.storage, &self.peers, owner, applied_map, options).await?;
        let founders = map.founders(shard);
        // A group is founded by a map in which none of its founders was replaced: afterwards its
        // members are in its own log alone.
        let untouched = map.shards.get(&shard).into_iter().flatten().all(|(_, member)| {
            match member.role {
                ReplicaRole::Founder => true,
                // The meta shard is founded by one node, and the others join.
                ReplicaRole::Joining => shard == ShardId::META && map.version == 1,
                ReplicaRole::Voter | ReplicaRole::Leaving => false,
            }
        });
        if untouched
            && founders.contains_key(&replica)
            && let Err(error) = group.found(&founders).await
        {
            tracing::warn!(%shard, %error, "a group was not founded");
        }
        let disk = self.storage.flusher().clone();
        let proposer = Proposer::start(group.clone(), self.clock.clone(), disk);
        let replica = Replica::new(group, proposer);
        self.registry.insert(replica.clone());
        self.spawn(caretaker::run(self.surroundings(), replica));
        Ok(())
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            known: self.known.clone(),
            peers: self.peers.clone(),
            registry: self.registry.clone(),
            options: self.config.raft.clone(),
        }
    }

    /// Hands over every leadership, or tries to for a while.
    pub async fn hand_over(&self) {
        // The caretakers must not let anybody stand for election again.
        self.registry.begin_stop();
        let replicas = self.registry.all();
        for replica in &replicas {
            replica.group.allow_election(false);
        }
        let handed = async {
            loop {
                let mut leads = false;
                for replica in replicas.iter().filter(|replica| replica.group.leads_replaceably()) {
                    let distrusted = self.clock.verdict().distrusted_peers;
                    leads |= !hand_over(replica, None, &distrusted).await;
                }
                if !leads {
                    return;
                }
                tokio::time::sleep(HAND_OVER_INTERVAL).await;
            }
        };
        if tokio::time::timeout(HAND_OVER_TIMEOUT, handed).await.is_err() {
            tracing::warn!("stopping although this node still leads: nobody took over in time");
        }
    }

    /// Cancelled once the node stops; whatever would go on for ever ends then.
    pub fn stopping(&self) -> CancellationToken {
        self.stopped.clone()
    }

    /// Ends everything that serves others. The replicas go on.
    pub fn begin_stop(&self) {
        self.registry.begin_stop();
        self.stopped.cancel();
    }

    /// Stops the replicas and closes the storage.
    pub async fn halt(&self) {
        let starting = self.replicas.lock().take();
        if let Some(starting) = starting
            && let Err(error) = starting.await
        {
            tracing::error!(%error, "the replicas were not all started");
        }
        for replica in self.registry.all() {
            replica.group.stop().await;
        }
        let storage = self.storage.clone();
        match tokio::task::spawn_blocking(move || storage.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => fatal::abort("closing the storage", &fault),
            Err(error) => tracing::error!(%error, "the storage was not closed"),
        }
    }
}

/// An id that cannot be said to others is none that this program made.
fn malformed(error: coupon_transport::IdentityError) -> IdentityError {
    StorageError::corrupt("identity", error).into()
}
