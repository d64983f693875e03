//! Offline choice, by an operator, of the history that a cluster goes on with.
//!
//! Where a quorum of a shard was rolled back or is gone for good, no node can find out which replica is
//! right, and keeping any of them loses what the others hold. So the shard stops until an operator decides.
//! [`Directory`] reads the data directory of a stopped node, [`differences`] says what each choice loses, and
//! [`keep`] carries a choice out.
//!
//! Nothing that is given up is deleted.

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
        shard: coupon_cluster::ShardId,
    },
    /// The log cannot be applied.
    #[error("the log of shard {shard} cannot be applied: {why}")]
    Unreadable {
        /// The shard.
        shard: coupon_cluster::ShardId,
        /// How that shows.
        why: String,
    },
}
