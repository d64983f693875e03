//! Why a node does not serve a shard, as a gRPC status: written by nodes, read by routers and tools.

use coupon_cluster::NodeId;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::ids::optional_node_id;

/// The `ErrorInfo` domain of the reasons that nodes give.
pub const DOMAIN: &str = "coupon.internal.v1";

/// The reason of a node that does not lead the shard it was asked about.
const NOT_LEADER: &str = "NOT_LEADER";

/// The reason of a node whose replica is stopped because the shard has two histories.
const SHARD_DIVERGED: &str = "SHARD_DIVERGED";

/// The metadata of [`NOT_LEADER`] that names the leader.
const LEADER_NODE_ID: &str = "leader_node_id";

/// "Ask the leader", with a hint which node that is.
pub fn not_leader(leader: Option<NodeId>) -> Status {
    let details = match leader {
        Some(node) => {
            let hint = [(LEADER_NODE_ID.to_owned(), node.to_string())];
            ErrorDetails::with_error_info(NOT_LEADER, DOMAIN, hint)
        }
        None => ErrorDetails::with_error_info(NOT_LEADER, DOMAIN, []),
    };
    Status::with_error_details(Code::Unavailable, "this node does not lead the shard", details)
}

/// The node that leads, by the word of a node that does not; `None` where the status says something else or
/// the node knows no leader.
pub fn leader_named_by(status: &Status) -> Option<NodeId> {
    let info = status.get_details_error_info().filter(|info| info.reason == NOT_LEADER)?;
    optional_node_id(info.metadata.get(LEADER_NODE_ID)?.parse().ok()?)
}

/// "The shard has two histories": nothing is proposed or read any more.
pub fn shard_diverged() -> Status {
    let details = ErrorDetails::with_error_info(SHARD_DIVERGED, DOMAIN, []);
    let message = "the shard has two histories and is stopped";
    Status::with_error_details(Code::DataLoss, message, details)
}

/// Whether a node reports that the shard has two histories: no other node will answer.
pub fn says_diverged(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == SHARD_DIVERGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let leader = NodeId::new(3).unwrap();
        assert_eq!(leader_named_by(&not_leader(Some(leader))), Some(leader));
        assert_eq!(leader_named_by(&not_leader(None)), None);
        assert!(says_diverged(&shard_diverged()));
        assert!(!says_diverged(&not_leader(None)));
        assert_eq!(leader_named_by(&shard_diverged()), None);
    }
}
