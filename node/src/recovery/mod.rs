//! Offline choice, by an operator, of the history that a cluster goes on with.
//!
//! Where a quorum of a shard was rolled back or is gone for good, no node can find out which replica is
//! right, and keeping any of them loses what the others hold. So the shard stops until an operator decides.
//! [`Directory`] reads the data directory of a stopped node, [`differences`] says what each choice loses, and
//! [`keep`] carries a choice out.
//!
//! Nothing that is given up is deleted.

mod choice;
mod differences;
mod directory;
mod history;
mod keep;

pub use choice::check_choice;
pub use differences::{Lost, LostLines, differences};
pub use directory::{Directory, ReplicaFound};
pub use history::History;
pub use keep::{Kept, give_up, keep};

use coupon_cluster::{NodeId, ShardId};
/// What histories hold.
pub use coupon_ledger::{Hold, HoldState, IssuedCoupon, LogTime};

use crate::storage::StorageError;
use crate::storage::identity::IdentityError;

/// Why a directory cannot be recovered from, or a choice cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The directory cannot be read or written. A node may be running on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not a data directory that this program knows.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It belongs to no cluster, so it holds nothing.
    #[error("the store has never been in a cluster: it holds nothing to recover")]
    Empty,
    /// The node's replica of the shard is not a voter.
    #[error(
        "node {node}'s replica of shard {shard} is not a voter: keep the directory of another node"
    )]
    NotAVoter {
        /// The node.
        node: NodeId,
        /// The shard.
        shard: ShardId,
    },
    /// The log cannot be applied.
    #[error("the log of shard {shard} cannot be applied: {why}")]
    Unreadable {
        /// The shard.
        shard: ShardId,
        /// How that shows.
        why: String,
    },
    /// Another node holds a replica of a stopped shard.
    #[error(
        "node {node} also has a replica of shard {shard}: name its directory with --data, or the node with \
         --gone"
    )]
    NotNamed {
        /// The node.
        node: NodeId,
        /// The shard.
        shard: ShardId,
    },
    /// Shards that the kept node has no replica of would lose their quorum.
    #[error(
        "giving these nodes up would leave shards {} without a quorum, and node {node} has no replica of them: \
         name fewer directories, or keep another one",
        list(shards)
    )]
    QuorumGivenUp {
        /// The node that would be kept.
        node: NodeId,
        /// The shards.
        shards: Vec<ShardId>,
    },
}

fn list(shards: &[ShardId]) -> String {
    let shards: Vec<String> = shards.iter().map(ToString::to_string).collect();
    shards.join(", ")
}
