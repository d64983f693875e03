//! Whether a group has a quorum, as far as one of its replicas can see.

use std::time::Instant;

use openraft::async_runtime::WatchReceiver as _;
use openraft::{Instant as _, RaftMetrics, ServerState};

use super::pace;
use super::replica::RaftReplica;
use super::types::TypeConfig;

impl RaftReplica {
    /// Notes that a leader of the group was heard.
    pub fn note_leader_heard(&self) {
        *self.elections.heard.lock() = Some(Instant::now());
    }

    /// Whether the group seems to have a quorum: one answers this leader, or a leader is heard.
    pub fn has_quorum(&self) -> bool {
        if self.is_leader() {
            return self.leads_with_quorum();
        }
        let heard = *self.elections.heard.lock();
        heard.is_some_and(|heard| heard.elapsed() <= pace::real(self.quorum_age_max))
    }

    /// Whether this replica leads and a quorum has answered it lately.
    pub fn leads_with_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let acked = metrics.last_quorum_acked;
        let has_quorum = acked.is_some_and(|acked| acked.elapsed() <= self.quorum_age_max);
        metrics.state == ServerState::Leader && (has_quorum || !self.has_other_voters(&metrics))
    }

    /// Whether this replica leads, and a quorum has answered it so lately that no other one can have been elected long
    /// ago.
    pub fn surely_leads(&self) -> bool {
        let acked = self.metrics().last_quorum_acked;
        let is_late = acked.is_some_and(|acked| acked.elapsed() > self.quorum_age_max / 2);
        self.leads_with_quorum() && !is_late
    }

    /// Whether this replica leads and a quorum has not answered it for so long that nothing it proposes
    /// is likely to be decided.
    pub fn leads_without_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader && self.lacks_quorum(&metrics)
    }

    pub(super) fn lacks_quorum(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        let acked = metrics.last_quorum_acked;
        self.has_other_voters(metrics)
            && acked.is_some_and(|acked| acked.elapsed() > self.quorum_age_max)
    }

    fn has_other_voters(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        metrics.membership_config.voter_ids().any(|id| id != self.key.replica.0)
    }

    /// Whether this replica leads and there is somebody who could instead, with a quorum to elect them.
    pub fn leads_replaceably(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader
            && self.has_other_voters(&metrics)
            && !self.lacks_quorum(&metrics)
    }
}
