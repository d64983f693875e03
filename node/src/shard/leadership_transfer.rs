//! Leadership transfer from one replica of a shard to another (Raft dissertation §3.10).
//!
//! A leader that was told to transfer proposes nothing and sends no heartbeat any more, whether its
//! successor takes over or not; where that fails, the shard waits for an election. So openraft is
//! told only when little can fail:
//!
//! 1. The successor has answered lately, and its clock is good.
//! 2. Its proposer holds new entries back, and those under way get their outcomes.
//! 3. The successor answers at once, and has received every entry.
//!
//! Where one of these takes too long the leader goes on leading, as if nobody had asked.

use std::time::Duration;

use coupon_cluster::{NodeId, ReplicaId};

use super::registry::Replica;

/// How long a successor that has every entry may take to win its election; longer where a round takes longer.
/// Nobody else is asked afterwards: the followers are about to hold an election by themselves.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_millis(500);

/// Hands the leadership of a shard to `wanted`, or to any other voter, unless its node is among the
/// `distrusted`. Returns whether this replica no longer leads, after some seconds at most.
pub async fn transfer_leadership(
    replica: &Replica,
    wanted: Option<ReplicaId>,
    distrusted: &[NodeId],
) -> bool {
    let raft = &replica.raft;
    // For the entries under way, and then for the successor to answer and to receive the last of them. Nothing is
    // issued meanwhile; a healthy shard needs a few milliseconds where nodes are close to each other.
    let catch_up_max = raft.round_max();
    for (id, node) in raft.responsive_voters() {
        let unwanted = wanted.is_some_and(|wanted| wanted != id) || distrusted.contains(&node);
        // One that lags is not worth a pause.
        if unwanted || !raft.is_caught_up(id) {
            continue;
        }
        let pausing = tokio::time::timeout(catch_up_max, replica.proposer.pause());
        // Entries that do not get their outcomes in time would not get them from a successor either.
        let Ok(paused) = pausing.await else { return false };
        if raft.wait_until_ready(id, catch_up_max).await {
            tracing::info!(shard = %raft.key.shard, %node, "transferring leadership");
            raft.transfer_leadership(id).await;
            return raft.wait_until_follower(SUCCESSOR_TIMEOUT.max(catch_up_max)).await;
        }
        drop(paused);
    }
    !raft.is_leader()
}
