//! The shard map: the state of the meta shard, and what every member reads from it.
//!
//! It says which nodes there are, which replicas of which shard they host, which shards own
//! campaigns and which keys make codes. It changes only by [`ShardMap::apply`], in the order of
//! the meta shard's log, so that two maps of one version are equal everywhere.
//!
//! Invariants, checked by [`ShardMap::check`]:
//!
//! - A replica id names one replica of one shard, for ever: ids below `next_replica_id` were
//!   given, ids from there on never were.
//! - A node has at most one replica of a shard that is not leaving.
//! - Replicas are on nodes of the map; no two nodes share a store. Two may share an address for a
//!   while, when a node registers an address before the node that had it has moved. Every call names
//!   the store it is for, so it reaches that store or none.
//! - The ring's shards exist, and the meta shard is not among them.
//!
//! The map says what is *meant to be*. What a group's members are is decided in the group's own
//! log: a joining replica may be learner or voter already, and a leaving one is a member until the
//! group has removed it.

mod add_code_key;
mod check;
mod command;
mod genesis;
mod leaders;
mod register;
mod remove;
mod restore;

use std::collections::{BTreeMap, BTreeSet};

pub use check::MapFault;
pub use command::{MetaCommand, MetaRefusal};
pub use genesis::{GenesisError, GenesisSpec};
pub use register::Origin;
pub use restore::RestoreSpec;

use crate::code::CodeKey;
use crate::ids::{Epoch, KeyId, NodeId, ReplicaId, ShardId};
use crate::ring::Ring;

/// The shard map. The default is the map of a node that belongs to no cluster yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardMap {
    /// The cluster's id, a UUID; empty before genesis.
    pub cluster_id: String,
    /// Grows by one with every change of the map; 0 before genesis.
    pub version: u64,
    /// Grows with every change of `ring_shards`; 0 before genesis.
    pub epoch: Epoch,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The shards and their replicas.
    pub shards: BTreeMap<ShardId, BTreeMap<ReplicaId, Replica>>,
    /// The shards that own campaigns.
    pub ring_shards: BTreeSet<ShardId>,
    /// The keys of coupon codes; new campaigns use the last one.
    pub code_keys: BTreeMap<KeyId, CodeKey>,
    /// The id that the next replica gets.
    pub next_replica_id: ReplicaId,
    /// The nodes that are leaving the cluster: each is dropped with its last replica.
    pub leaving_nodes: BTreeSet<NodeId>,
    /// The states that the shards of a restored cluster began with; empty where the cluster began
    /// empty.
    pub restored: BTreeMap<ShardId, StateDigest>,
}

/// SHA-256 over the rows of a shard's state.
pub type StateDigest = [u8; 32];

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `host:port` where it serves routers and other nodes; not empty.
    pub address: String,
    /// The id of its data directory, a UUID made with the directory; not empty. A node that comes
    /// back with another one has lost its disk.
    pub store_id: String,
    /// The last start of the store that the cluster accepted, a UUID drawn at that start; not empty. A
    /// process that does not remember this start runs on a copy of the store, or on an older state of it.
    pub start_id: String,
}

/// A replica of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The node it runs on.
    pub node: NodeId,
    /// Whether it takes part.
    pub role: ReplicaRole,
}

/// What a replica is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaRole {
    /// A voter of the first membership, which the group begins with.
    Initial,
    /// To be added to the group: learner first, then voter.
    Joining,
    /// A voter that was added later.
    Voter,
    /// Its disk is lost; to be removed from the group.
    Leaving,
    /// Its node is leaving the cluster. The group removes it once its successor on another node has
    /// joined. Until then it votes, and may lead.
    Retiring,
}

impl ReplicaRole {
    /// The name of the role, as people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Joining => "joining",
            Self::Voter => "voter",
            Self::Leaving => "leaving",
            Self::Retiring => "retiring",
        }
    }
}

impl Replica {
    /// Whether the map counts on it as a voter: it is one of the first, or it has joined.
    pub fn is_voter(&self) -> bool {
        matches!(self.role, ReplicaRole::Initial | ReplicaRole::Voter | ReplicaRole::Retiring)
    }

    /// Whether the group should remove it.
    pub fn is_to_go(&self) -> bool {
        matches!(self.role, ReplicaRole::Leaving | ReplicaRole::Retiring)
    }

    /// Whether the group has lost it.
    pub fn is_leaving(&self) -> bool {
        self.role == ReplicaRole::Leaving
    }
}

impl ShardMap {
    /// Whether there is a cluster: genesis has been applied.
    pub fn is_initialized(&self) -> bool {
        !self.cluster_id.is_empty()
    }

    /// The ring of the map's epoch; `None` before genesis. Costs time: keep it while the epoch
    /// stays the same.
    pub fn ring(&self) -> Option<Ring> {
        Ring::new(self.epoch, self.ring_shards.iter().copied())
    }

    /// The nodes where a leader of `shard` may be found: all that have a replica which is not
    /// leaving. Joining ones count, since the group may have made them voters already.
    pub fn owner_nodes(&self, shard: ShardId) -> BTreeSet<NodeId> {
        self.replicas(shard)
            .filter(|(_, replica)| !replica.is_leaving())
            .map(|(_, replica)| replica.node)
            .collect()
    }

    /// The replica of `shard` that `node` is to run: its only one that is not leaving.
    pub fn replica_on(&self, node: NodeId, shard: ShardId) -> Option<ReplicaId> {
        self.replicas(shard)
            .find(|(_, replica)| replica.node == node && !replica.is_leaving())
            .map(|(id, _)| id)
    }

    /// The initial replicas of `shard` that are still there, with their nodes: all of the first membership
    /// until one of them loses its disk.
    ///
    /// A group must begin with ONE first membership. Every initial replica may initialise the group, and all
    /// of them with the same members.
    pub fn initial_replicas(&self, shard: ShardId) -> BTreeMap<ReplicaId, NodeId> {
        self.replicas(shard)
            .filter(|(_, replica)| replica.role == ReplicaRole::Initial)
            .map(|(id, replica)| (id, replica.node))
            .collect()
    }

    fn replicas(&self, shard: ShardId) -> impl Iterator<Item = (ReplicaId, &Replica)> {
        self.shards.get(&shard).into_iter().flatten().map(|(&id, replica)| (id, replica))
    }
}
