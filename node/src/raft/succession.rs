//! Who could lead instead of this replica, and the transfer of leadership as openraft does it.

use std::time::Duration;

use coupon_cluster::{NodeId, ReplicaId};
use openraft::async_runtime::WatchReceiver as _;
use openraft::type_config::TypeConfigExt as _;
use openraft::{Instant as _, RaftMetrics, ServerState};

use super::replica::RaftReplica;
use super::types::TypeConfig;

/// How many entries a learner may lack and still count as caught up.
const CAUGHT_UP_ENTRIES: u64 = 64;

impl RaftReplica {
    /// Whether a replica has (nearly) all of the leader's log. False when this replica does not
    /// lead.
    pub fn is_caught_up(&self, replica: ReplicaId) -> bool {
        let metrics = self.metrics();
        let matched = metrics
            .replication
            .as_ref()
            .and_then(|matched| matched.get(&replica.0))
            .and_then(|matched| *matched);
        let last = metrics.last_log_index.unwrap_or(0);
        matched.is_some_and(|matched| matched.index + CAUGHT_UP_ENTRIES >= last)
    }

    /// The last entry that all members which have answered this leader lately are known to have; 0 while one of
    /// them is sent the state, since it answers nothing while it installs it. `None` when this replica does not
    /// lead.
    pub fn held_by_all(&self) -> Option<u64> {
        if self.transfers.any() {
            return Some(0);
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (answered, matched) = (metrics.heartbeat.as_ref()?, metrics.replication.as_ref()?);
        let responsive = matched.iter().filter(|(id, _)| {
            let last = answered.get(id).and_then(Option::as_ref);
            last.is_some_and(|last| last.elapsed() < self.answer_age_max)
        });
        let held = responsive.map(|(_, matched)| matched.map_or(0, |matched| matched.index));
        Some(held.min().unwrap_or(u64::MAX))
    }

    /// The other voters that have answered this leader lately, with their nodes; those that have
    /// most of the log first. None when this replica does not lead.
    pub fn responsive_voters(&self) -> Vec<(ReplicaId, NodeId)> {
        let metrics = self.metrics();
        let (Some(answered), Some(matched)) = (&metrics.heartbeat, &metrics.replication) else {
            return Vec::new();
        };
        let mut voters: Vec<_> = metrics
            .membership_config
            .voter_ids()
            .filter(|id| *id != self.key.replica.0)
            .filter(|id| {
                let last = answered.get(id).and_then(Option::as_ref);
                last.is_some_and(|last| last.elapsed() < self.answer_age_max)
            })
            .filter_map(|id| {
                let member = metrics.membership_config.get_node(&id)?;
                Some((ReplicaId(id), NodeId::new(member.node_id).ok()?))
            })
            .collect();
        voters.sort_by_key(|(id, _)| std::cmp::Reverse(matched.get(&id.0).copied().flatten()));
        voters
    }

    /// Asks a replica for a sign of life, and waits until it has given one and has received all of
    /// this leader's log; false when that takes longer than `timeout`, or when this replica does not
    /// lead.
    pub async fn wait_until_ready(&self, replica: ReplicaId, timeout: Duration) -> bool {
        let asked_at = TypeConfig::now();
        let ready = |metrics: &RaftMetrics<TypeConfig>| {
            let answered = metrics.heartbeat.as_ref().and_then(|answered| answered.get(&replica.0));
            let answered = answered.and_then(Option::as_ref).is_some_and(|at| **at >= asked_at);
            let matched = metrics.replication.as_ref().and_then(|matched| matched.get(&replica.0));
            let matched = matched.and_then(|matched| *matched).map(|log_id| log_id.index);
            answered && matched >= metrics.last_log_index
        };
        self.raft.trigger().heartbeat().await.is_ok()
            && self.raft.wait(Some(timeout)).metrics(ready, "successor").await.is_ok()
    }

    /// The longest time from a question to the answer of a replica that is well.
    pub fn round_max(&self) -> Duration {
        self.round_max
    }

    /// Waits until this replica does not lead; false when it still does after `timeout`.
    pub async fn wait_until_follower(&self, timeout: Duration) -> bool {
        let follows = |metrics: &RaftMetrics<TypeConfig>| metrics.state != ServerState::Leader;
        self.raft.wait(Some(timeout)).metrics(follows, "follower").await.is_ok()
    }

    /// Asks another replica to lead. Returns before it does. Until then this one proposes nothing;
    /// see [`leadership_transfer`](crate::shard::leadership_transfer).
    pub async fn transfer_leadership(&self, to: ReplicaId) {
        // A core that has stopped leads no more, which is all that is asked for.
        let _ = self.raft.trigger().transfer_leader(to.0).await;
    }
}
