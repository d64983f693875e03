//! Begins the groups of a new cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_cluster::{NodeId, ReplicaId};

use crate::raft::replica::RaftReplica;

/// How long an initial replica waits for the one that is to lead a new group, or for two rounds of messages where that
/// is longer, before it begins the group itself.
const BOOTSTRAP_WAIT: Duration = Duration::from_secs(1);

/// Begins a new group. The replica that is to lead it goes first: an election that another one holds late would
/// depose it.
pub(super) async fn begin(
    raft: RaftReplica,
    initial: BTreeMap<ReplicaId, NodeId>,
    goes_first: bool,
) {
    if !goes_first {
        raft.wait_for_leader(BOOTSTRAP_WAIT.max(2 * raft.round_max())).await;
    }
    if let Err(error) = raft.bootstrap(&initial).await {
        tracing::warn!(shard = %raft.key.shard, %error, "could not bootstrap the shard");
    }
}
