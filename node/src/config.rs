//! What an operator can set on a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use coupon_cluster::{NodeId, ShardId};

use crate::raft::options::{BadTimes, raft_config};

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
    /// How its Raft groups behave.
    pub raft: RaftOptions,
}

/// How a node's Raft groups behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftOptions {
    /// How often a leader says that it is there.
    pub heartbeat_interval: Duration,
    /// How long a follower hears nothing of a leader before it stands for election: between this
    /// and a third more, drawn anew each time. More than three heartbeats.
    pub election_timeout: Duration,
    /// A snapshot is built after so many entries...
    pub snapshot_entries: u64,
    /// ...or after so many bytes of them, but not fewer than the last snapshot has.
    pub snapshot_bytes: u64,
    /// So many entries before the last snapshot are kept, for followers that were away for a while;
    /// fewer where they take more than `snapshot_bytes`.
    pub log_entries_kept: u64,
}

impl RaftOptions {
    /// Whether Raft groups can run with these options.
    ///
    /// # Errors
    ///
    /// When the times do not go together.
    pub fn check(&self) -> Result<(), BadTimes> {
        raft_config(ShardId::META, self).map(drop)
    }
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(150),
            election_timeout: Duration::from_millis(750),
            snapshot_entries: 200_000,
            snapshot_bytes: 256 << 20,
            log_entries_kept: 50_000,
        }
    }
}
