//! Choosing by hand which history a cluster goes on with, offline.
//!
//! Where a quorum of a shard was rolled back, or is gone for good, nothing that a node could find out
//! tells which replica is right, and going on with any of them loses what the others hold. So the shard
//! stands still until an operator decides. [`Directory`] reads what a stopped node's data directory holds,
//! [`differences`] says what each choice loses, and [`keep`] carries a choice out.
//!
//! Nothing of what is given up is deleted.

mod differences;
mod directory;
mod history;
mod keep;

pub use differences::{Lost, differences};
pub use directory::{Directory, ReplicaFound};
pub use history::History;
pub use keep::{Kept, give_up, keep};

use coupon_cluster::NodeId;

use crate::storage::StorageError;
use crate::storage::identity::IdentityError;

/// Why a directory cannot be recovered from, or a choice not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The directory cannot be read or written. A node may be running on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is no data directory that this program knows.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It belongs to no cluster, so that there is nothing in it.
    #[error("the store has never been in a cluster: it holds nothing to recover")]
    Empty,
    /// Its node has no replica of the shard that votes.
    #[error(
        "node {node}'s replica of shard {shard} is no voter: keep the directory of another node"
    )]
    NotAVoter {
        /// The node.
        node: NodeId,
        /// The shard.
        shard: coupon_cluster::ShardId,
    },
    /// What the log holds cannot be applied.
    #[error("the log of shard {shard} cannot be applied: {why}")]
    Unreadable {
        /// The shard.
        shard: coupon_cluster::ShardId,
        /// How that shows.
        why: String,
    },
}
