//! Which replicas run on this node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coupon_cluster::{ReplicaId, ShardId};
use coupon_proto::internal::RouterHello;
use parking_lot::{Mutex, RwLock};

use super::proposer::{Proposer, Submission};
use crate::raft::group::Group;

/// A running replica and what serves it.
#[derive(Clone)]
pub struct Replica {
    /// The replica.
    pub group: Group,
    /// Its proposer.
    proposer: Proposer,
    /// The newest stream of each router, so that older ones are fenced off.
    newest_streams: Arc<Mutex<HashMap<u64, u64>>>,
}

impl Replica {
    /// A replica that was just started.
    pub fn new(group: Group, proposer: Proposer) -> Self {
        Self { group, proposer, newest_streams: Arc::default() }
    }

    /// Notes that a router has opened a stream. False when it has opened a newer one already.
    pub fn open_stream(&self, router_id: u64, stream_number: u64) -> bool {
        let mut streams = self.newest_streams.lock();
        let newest = streams.entry(router_id).or_insert(0);
        let is_newest = stream_number >= *newest;
        *newest = stream_number.max(*newest);
        is_newest
    }

    /// Hands commands that came over a router's stream to the proposer, unless the router has
    /// opened a newer stream. A newer one cannot be opened between the two.
    pub fn submit(&self, stream: &RouterHello, submission: Submission) -> bool {
        let streams = self.newest_streams.lock();
        let newest = streams.get(&stream.router_id);
        let is_newest = newest.is_none_or(|newest| *newest <= stream.stream_number);
        if is_newest {
            self.proposer.submit(submission);
        }
        is_newest
    }
}

/// The running replicas, one for each shard at most. Clones share it.
#[derive(Clone, Default)]
pub struct Registry {
    replicas: Arc<RwLock<BTreeMap<ShardId, Replica>>>,
    stopping: Arc<AtomicBool>,
}

impl Registry {
    /// Notes that the node is about to stop: its replicas go on, but are not taken care of.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether a replica is to be taken care of: it runs here, and the node is not about to stop.
    pub fn is_cared_for(&self, shard: ShardId, replica: ReplicaId) -> bool {
        !self.stopping.load(Ordering::Relaxed) && self.get_replica(shard, replica).is_some()
    }

    /// The replica of a shard, if one runs here.
    pub fn get(&self, shard: ShardId) -> Option<Replica> {
        self.replicas.read().get(&shard).cloned()
    }

    /// The replica with this id.
    pub fn get_replica(&self, shard: ShardId, replica: ReplicaId) -> Option<Replica> {
        self.get(shard).filter(|found| found.group.owner.replica == replica)
    }

    /// All replicas, by shard.
    pub fn all(&self) -> Vec<Replica> {
        self.replicas.read().values().cloned().collect()
    }

    /// Adds a replica that was just started.
    pub fn insert(&self, replica: Replica) {
        self.replicas.write().insert(replica.group.owner.shard, replica);
    }

    /// Takes a replica out.
    pub fn remove(&self, shard: ShardId) -> Option<Replica> {
        self.replicas.write().remove(&shard)
    }
}
