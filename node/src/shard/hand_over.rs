//! Handing the leadership of a shard over to another replica (Raft dissertation §3.10).
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

/// How long the entries under way may take, and then how long the successor may take to answer and to
/// receive the last of them. Nothing is issued meanwhile; a healthy shard needs a few milliseconds.
const CATCH_UP_TIMEOUT: Duration = Duration::from_millis(150);
/// How long a successor that has every entry may take to win its election. Nobody else is asked
/// afterwards: the followers are about to hold an election by themselves.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_millis(500);

/// Hands the leadership of a shard to `wanted`, or to any other voter, unless its node is among the
/// `distrusted`. Returns whether this replica no longer leads, after a second at most.
pub async fn hand_over(
    replica: &Replica,
    wanted: Option<ReplicaId>,
    distrusted: &[NodeId],
) -> bool {
    let group = &replica.group;
    for (id, node) in group.responsive_voters() {
        let unwanted = wanted.is_some_and(|wanted| wanted != id) || distrusted.contains(&node);
        // One that lags is not worth a pause.
        if unwanted || !group.is_caught_up(id) {
            continue;
        }
        let pausing = tokio::time::timeout(CATCH_UP_TIMEOUT, replica.proposer.pause());
        // Entries that do not get their outcomes in time would not get them from a successor either.
        let Ok(paused) = pausing.await else { return false };
        if group.wait_until_ready(id, CATCH_UP_TIMEOUT).await {
            tracing::info!(shard = %group.owner.shard, %node, "handing leadership over");
            group.transfer_leadership(id).await;
            return group.wait_until_follower(TAKE_OVER_TIMEOUT).await;
        }
        drop(paused);
    }
    !group.is_leader()
}
