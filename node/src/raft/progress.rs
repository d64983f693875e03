//! What a replica is doing, for people.

use coupon_cluster::NodeId;
use openraft::ServerState;

use super::replica::RaftReplica;

/// What a replica is doing.
pub struct Progress {
    /// "leader", "leader without quorum", "follower", "candidate", "learner" or "shutdown".
    pub state: &'static str,
    /// The term it is in.
    pub term: u64,
    /// The node of the leader it knows, itself included.
    pub leader: Option<NodeId>,
    /// The last index in its log; 0: none.
    pub last_log_index: u64,
    /// The last index it applied; 0: none.
    pub applied_index: u64,
    /// The last index purged from its log; 0: none.
    pub purged_index: u64,
}

impl RaftReplica {
    /// What the replica is doing, for people.
    pub fn progress(&self) -> Progress {
        let metrics = self.metrics();
        let leader = metrics
            .current_leader
            .and_then(|leader| metrics.membership_config.get_node(&leader))
            .and_then(|member| NodeId::new(member.node_id).ok());
        Progress {
            state: match metrics.state {
                ServerState::Learner => "learner",
                ServerState::Follower => "follower",
                ServerState::Candidate => "candidate",
                ServerState::Leader if self.lacks_quorum(&metrics) => "leader without quorum",
                ServerState::Leader => "leader",
                ServerState::Shutdown => "shutdown",
            },
            term: metrics.current_term,
            leader,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            purged_index: metrics.purged.map_or(0, |id| id.index),
        }
    }
}
