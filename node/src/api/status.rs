//! Faults of a node as gRPC status, for routers and other nodes.

use std::collections::HashMap;

use coupon_wire::Malformed;
use coupon_wire::refusal::{DOMAIN, not_leader};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::raft::replica::ReplicaError;
use crate::registration::reason::MAP_VERSION;

/// A fault of a group as a status.
pub(super) fn from_replica_error(error: &ReplicaError) -> Status {
    match error {
        ReplicaError::NotLeader { leader, .. } => not_leader(*leader),
        ReplicaError::OutcomeUnknown(_) | ReplicaError::NoQuorum(_) => {
            let reason = "OUTCOME_UNKNOWN";
            let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
            Status::with_error_details(Code::Unavailable, error.to_string(), details)
        }
        ReplicaError::Membership { .. } => Status::failed_precondition(error.to_string()),
    }
}

/// Refuses a starting node, with a reason that programs can read.
pub(super) fn refused(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// The same, with the version of the shard map by which it may not.
pub(super) fn refused_by_map(reason: &str, message: String, map_version: u64) -> Status {
    let metadata = HashMap::from([(MAP_VERSION.to_owned(), map_version.to_string())]);
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// A malformed message as a status.
pub(super) fn malformed(error: &Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}
