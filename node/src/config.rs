//! What an operator can set on a node.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use coupon_cluster::NodeId;

use crate::raft::options::RaftOptions;

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's id, unique in the cluster.
    pub node_id: NodeId,
    /// Where its data is kept.
    pub data_dir: PathBuf,
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// host:port that other nodes and routers call it at; `None`: the address it listens on.
    pub advertise: Option<String>,
    /// Addresses of nodes to learn the cluster from, its own among them or not.
    pub join: Vec<String>,
    /// How far its clock may be off from its peers' before it refuses to lead.
    pub max_clock_offset: Duration,
    /// The number of threads that its shards and connections are spread over. The first is the one that starts
    /// the node.
    pub workers: NonZeroUsize,
    /// How its Raft groups behave.
    pub raft: RaftOptions,
}
