//! Why a node must end.

use crate::storage::identity::IdentityError;

/// Why a running node must end, although nothing of it is broken: it runs on the wrong directory, or
/// calls the wrong cluster.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    /// The cluster does not take it in.
    #[error("the cluster refuses this node: {0}")]
    ByCluster(String),
    /// Another directory was registered for the node since.
    #[error("this node's data directory was replaced by another one")]
    Replaced,
    /// Another process has registered for the store since.
    #[error(
        "another process runs on a copy of this node's data directory and has registered since: it \
         serves at {0}; keep one of the two"
    )]
    Superseded(String),
    /// Replicas ran before the start was registered, and then another node knew something against it.
    #[error("another node objects to this start: {0}")]
    Objected(String),
    /// The node was removed from the cluster.
    #[error("this node was removed from the cluster")]
    Removed,
    /// The store has lost acknowledged writes, and is marked as lost. When the node starts again, a fresh
    /// store replaces it.
    #[error("this node's store has lost acknowledged writes: {0}")]
    Lost(String),
    /// The cluster that took it in is not the directory's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl StopReason {
    /// Whether to start the node again at once, with the same settings.
    pub fn starts_again(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Objected(_))
    }
}
