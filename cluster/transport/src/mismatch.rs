//! A call that reached another node than the one it was for, as a value and as a status.
//!
//! A node refuses such a call with this status, and a caller reports an answer of another node the
//! same way. The node that refused did nothing.

use std::collections::HashMap;
use std::fmt;

use coupon_cluster::{NodeId, NodeIdentity};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The `ErrorInfo` domain of the reasons.
const DOMAIN: &str = "coupon.internal.v1";

/// The `ErrorInfo` metadata that names the node that answers.
const CLUSTER_ID: &str = "cluster_id";
const NODE_ID: &str = "node_id";
const STORE_ID: &str = "store_id";

/// The name that did not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The answerer belongs to another cluster, or to none yet.
    WrongCluster,
    /// The answerer is another node of the cluster.
    WrongNode,
    /// The answerer runs on another data directory: the node was replaced, or is about to be.
    WrongStore,
    /// The call named no node.
    Unaddressed,
    /// The answer named no node.
    Unnamed,
}

impl Reason {
    const ALL: [Self; 5] =
        [Self::WrongCluster, Self::WrongNode, Self::WrongStore, Self::Unaddressed, Self::Unnamed];

    /// The reason as `ErrorInfo` carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongCluster => "WRONG_CLUSTER",
            Self::WrongNode => "WRONG_NODE",
            Self::WrongStore => "WRONG_STORE",
            Self::Unaddressed => "UNADDRESSED",
            Self::Unnamed => "UNNAMED",
        }
    }
}

/// A call reached another node than the one it was for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// The name that did not match.
    pub reason: Reason,
    /// The node that answered; `None` when it did not name itself.
    pub answerer: Option<NodeIdentity>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            Reason::WrongCluster => "the call is for another cluster",
            Reason::WrongNode => "the call is for another node",
            Reason::WrongStore => "the call is for another store",
            Reason::Unaddressed => "the call names no node",
            Reason::Unnamed => "the answer names no node",
        };
        match &self.answerer {
            Some(answerer) => write!(f, "{what}: {answerer} answers"),
            None => f.write_str(what),
        }
    }
}

impl Mismatch {
    /// The cluster of the node that answered, when it is another one than the call was for. A node
    /// outside of any cluster is not foreign.
    pub fn foreign_cluster(&self) -> Option<&str> {
        let answerer = self.answerer.as_ref().filter(|_| self.reason == Reason::WrongCluster)?;
        Some(answerer.cluster_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The mismatch that a status reports, if it does.
    pub fn of(status: &Status) -> Option<Self> {
        // Cheap for the many other failures: their details are not decoded.
        if status.code() != Code::FailedPrecondition {
            return None;
        }
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
        let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == info.reason)?;
        let answerer = || {
            Some(NodeIdentity {
                cluster_id: info.metadata.get(CLUSTER_ID)?.clone(),
                node_id: NodeId::new(info.metadata.get(NODE_ID)?.parse().ok()?).ok()?,
                store_id: info.metadata.get(STORE_ID)?.clone(),
            })
        };
        Some(Self { reason, answerer: answerer() })
    }
}

impl From<Mismatch> for Status {
    fn from(mismatch: Mismatch) -> Self {
        let message = mismatch.to_string();
        let metadata: HashMap<String, String> = match mismatch.answerer {
            Some(NodeIdentity { cluster_id, node_id, store_id }) => HashMap::from([
                (CLUSTER_ID.to_owned(), cluster_id),
                (NODE_ID.to_owned(), node_id.get().to_string()),
                (STORE_ID.to_owned(), store_id),
            ]),
            None => HashMap::new(),
        };
        let details = ErrorDetails::with_error_info(mismatch.reason.as_str(), DOMAIN, metadata);
        Self::with_error_details(Code::FailedPrecondition, message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_the_whole_mismatch() {
        let answerer = |cluster_id: &str| {
            let (cluster_id, store_id) = (cluster_id.to_owned(), "s".to_owned());
            Some(NodeIdentity { cluster_id, node_id: NodeId::new(3).unwrap(), store_id })
        };
        for reason in Reason::ALL {
            for answerer in [answerer("c"), answerer(""), None] {
                let mismatch = Mismatch { reason, answerer };
                assert_eq!(Mismatch::of(&mismatch.clone().into()), Some(mismatch));
            }
        }
        assert_eq!(Mismatch::of(&Status::failed_precondition("something else")), None);
        assert_eq!(Mismatch::of(&Status::unavailable("gone")), None);
    }

    #[test]
    fn only_another_cluster_is_foreign() {
        let foreign = |reason, cluster_id: &str| {
            let (cluster_id, store_id) = (cluster_id.to_owned(), String::new());
            let node_id = NodeId::new(1).unwrap();
            let answerer = Some(NodeIdentity { cluster_id, node_id, store_id });
            Mismatch { reason, answerer }.foreign_cluster().map(str::to_owned)
        };
        assert_eq!(foreign(Reason::WrongCluster, "c"), Some("c".to_owned()));
        assert_eq!(foreign(Reason::WrongCluster, ""), None);
        assert_eq!(foreign(Reason::WrongStore, "c"), None);
    }
}
