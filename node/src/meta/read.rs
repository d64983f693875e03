//! Reading the shard map as the meta shard has it.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{ShardId, ShardMap};

use super::store::ShardMapStore;
use crate::raft::replica::{RaftReplica, ReplicaError};

/// How long a quorum of the meta shard may take to say that its leader still leads.
const READ_INDEX_TIMEOUT: Duration = Duration::from_millis(500);

/// The shard map with every change that was decided before the call, from the meta replica of this node, if there is
/// one.
///
/// # Errors
///
/// When it does not lead, or no quorum says in time that it does.
pub async fn read_here(
    replica: Option<&RaftReplica>,
    known: &ShardMapStore,
) -> Result<Arc<ShardMap>, ReplicaError> {
    let none = || ReplicaError::NotLeader { shard: ShardId::META, leader: None };
    replica.ok_or_else(none)?.read_index(READ_INDEX_TIMEOUT).await?;
    known.applied().ok_or_else(none)
}
