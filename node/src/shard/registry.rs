//! Which replicas run on this node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use coupon_cluster::{ReplicaId, ShardId};
use coupon_proto::internal::RouterHello;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::divergence::Diverged;
use super::proposer::Proposer;
use super::submission::{StreamTag, Submission};
use crate::raft::replica::RaftReplica;

/// A running replica and what serves it.
#[derive(Clone)]
pub struct Replica {
    /// The replica.
    pub raft: RaftReplica,
    /// Its proposer.
    pub proposer: Proposer,
    streams: Arc<Mutex<Streams>>,
}

/// The streams of one router. They are remembered for a while after the last of them, since what an
/// older one had sent may still come, by way of a node that was slow to pass it on.
#[derive(Default)]
struct RouterStreams {
    newest: Arc<AtomicU64>,
    open: usize,
    /// When the last of them was closed, counted in closings.
    closed_at: u64,
}

/// The streams of all routers of a shard.
#[derive(Default)]
struct Streams {
    routers: HashMap<u64, RouterStreams>,
    closings: u64,
}

/// How many routers without an open stream are remembered, the latest ones.
const CLOSED_ROUTERS_MAX: usize = 1_024;

/// A stream that a router has opened, until it is dropped.
pub struct OpenStream {
    replica: Replica,
    router_id: u64,
    tag: StreamTag,
}

impl Replica {
    /// A replica that was just started.
    pub fn new(raft: RaftReplica, proposer: Proposer) -> Self {
        Self { raft, proposer, streams: Arc::default() }
    }

    /// Notes that a router has opened a stream. `None` when it has opened a newer one already.
    pub fn open_stream(&self, hello: &RouterHello) -> Option<OpenStream> {
        let (router_id, number) = (hello.router_id, hello.stream_number);
        let mut streams = self.streams.lock();
        let of_router = streams.routers.entry(router_id).or_default();
        if number < of_router.newest.load(Ordering::Acquire) {
            return None;
        }
        of_router.newest.store(number, Ordering::Release);
        of_router.open += 1;
        let tag = StreamTag::new(number, of_router.newest.clone());
        Some(OpenStream { replica: self.clone(), router_id, tag })
    }
}

impl OpenStream {
    /// The replica it leads to.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Hands commands that came over the stream to the proposer, unless the router has opened a
    /// newer stream. A newer one cannot be opened between the two.
    pub fn submit(&self, submission: Submission) -> bool {
        let _no_newer_one = self.replica.streams.lock();
        let is_newest = !self.tag.is_superseded();
        if is_newest {
            self.replica.proposer.submit(submission);
        }
        is_newest
    }

    /// What names the stream.
    pub fn tag(&self) -> StreamTag {
        self.tag.clone()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut streams = self.replica.streams.lock();
        streams.close(self.router_id);
    }
}

impl Streams {
    /// A stream of a router is closed.
    fn close(&mut self, router_id: u64) {
        self.closings += 1;
        if let Some(of_router) = self.routers.get_mut(&router_id) {
            of_router.open -= 1;
            of_router.closed_at = self.closings;
        }
        let closed = || self.routers.iter().filter(|(_, router)| router.open == 0);
        if closed().count() > CLOSED_ROUTERS_MAX
            && let Some(oldest) = closed().min_by_key(|(_, router)| router.closed_at)
        {
            let oldest = *oldest.0;
            self.routers.remove(&oldest);
        }
    }
}

/// The replicas of a node, at most one for each shard: running ones, and those stopped for good. Clones share
/// it.
#[derive(Clone, Default)]
pub struct Registry {
    replicas: Arc<RwLock<BTreeMap<ShardId, Replica>>>,
    diverged: watch::Sender<BTreeMap<ShardId, Diverged>>,
    stopping: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Registry {
    /// Notes that the node is about to stop: its replicas go on, but are not taken care of.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Notes that this process must not act for its node any more: nobody reaches its replicas from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether a replica is to be taken care of: it runs here, and the node is not about to stop.
    pub fn is_cared_for(&self, shard: ShardId, replica: ReplicaId) -> bool {
        let ends = self.stopping.load(Ordering::Relaxed) || self.closed.load(Ordering::Relaxed);
        let is_it = |found: &Replica| found.raft.key.replica == replica;
        !ends && self.replicas.read().get(&shard).is_some_and(is_it)
    }

    /// The replica of a shard, if one runs here.
    pub fn get(&self, shard: ShardId) -> Option<Replica> {
        let is_closed = self.closed.load(Ordering::Relaxed);
        self.replicas.read().get(&shard).filter(|_| !is_closed).cloned()
    }

    /// The replica with this id.
    pub fn get_replica(&self, shard: ShardId, replica: ReplicaId) -> Option<Replica> {
        self.get(shard).filter(|found| found.raft.key.replica == replica)
    }

    /// The Raft replica of the meta shard, if one runs here.
    pub fn meta(&self) -> Option<RaftReplica> {
        self.get(ShardId::META).map(|replica| replica.raft)
    }

    /// All replicas, by shard.
    pub fn all(&self) -> Vec<Replica> {
        self.replicas.read().values().cloned().collect()
    }

    /// Adds a replica that was just started.
    pub fn insert(&self, replica: Replica) {
        self.replicas.write().insert(replica.raft.key.shard, replica);
    }

    /// Removes a replica, running or stopped for good. Returns it if it runs.
    pub fn remove(&self, shard: ShardId) -> Option<Replica> {
        self.diverged.send_if_modified(|diverged| diverged.remove(&shard).is_some());
        self.replicas.write().remove(&shard)
    }

    /// Notes that the replica of a shard is stopped for good. Returns it if it still runs; the
    /// caller stops it.
    pub fn set_diverged(&self, diverged: Diverged) -> Option<Replica> {
        let key = diverged.key;
        let mut replicas = self.replicas.write();
        // The replica may have been replaced meanwhile.
        if replicas.get(&key.shard).is_some_and(|other| other.raft.key != key) {
            return None;
        }
        self.diverged.send_modify(|all| {
            all.entry(key.shard).or_insert(diverged);
        });
        replicas.remove(&key.shard)
    }

    /// Why the replica of a shard is stopped for good, if it is.
    pub fn diverged(&self, shard: ShardId) -> Option<Diverged> {
        self.diverged.borrow().get(&shard).cloned()
    }

    /// All replicas that are stopped for good, now and whenever that changes.
    pub fn watch_diverged(&self) -> watch::Receiver<BTreeMap<ShardId, Diverged>> {
        self.diverged.subscribe()
    }

    /// The replica of a shard that this node has, running or stopped for good.
    pub fn occupant(&self, shard: ShardId) -> Option<ReplicaId> {
        let running = self.get(shard).map(|replica| replica.raft.key.replica);
        running.or_else(|| self.diverged(shard).map(|diverged| diverged.key.replica))
    }
}
