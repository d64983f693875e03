//! Which node is meant, or answers.

use crate::ids::NodeId;

/// The identity of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The cluster it belongs to, a UUID; empty if it is in none yet.
    pub cluster_id: String,
    /// Its id, which is unique only in its cluster.
    pub node_id: NodeId,
    /// The id of its data directory, a UUID made with the directory.
    pub store_id: String,
}

impl std::fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cluster_id, node_id, store_id } = self;
        let node = node_id.get();
        if cluster_id.is_empty() {
            write!(f, "node {node} of no cluster yet, with store {store_id}")
        } else {
            write!(f, "node {node} of cluster {cluster_id}, with store {store_id}")
        }
    }
}
