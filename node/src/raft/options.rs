//! Settings of Raft groups, as openraft takes them.

use std::time::Duration;

use coupon_cluster::ShardId;
use openraft::{Config, SnapshotPolicy};

/// How a node's Raft groups behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftOptions {
    /// How often a leader says that it is there.
    pub heartbeat_interval: Duration,
    /// How long a follower hears nothing of a leader before it stands for election: between this
    /// and a third more, drawn anew each time. More than three heartbeats.
    pub election_timeout: Duration,
    /// The number of applied entries that a log keeps for followers that were away for a while, and up to as
    /// many again...
    pub log_entries_kept: u64,
    /// ...or this many bytes of them, where that is less.
    pub log_bytes_kept: u64,
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
            log_entries_kept: 100_000,
            log_bytes_kept: 32 << 20,
        }
    }
}

/// Maximum number of entries in one replication request; their bytes are bounded as well.
const ENTRIES_PER_APPEND_MAX: u64 = 256;
/// Maximum number of calls that wait for a group's core.
const CORE_QUEUE_MAX: u64 = 4_096;

/// The shortest of openraft's times, which are whole milliseconds.
const TIME_MIN: Duration = Duration::from_millis(1);

/// The intervals in [`RaftOptions`] contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum BadTimes {
    /// A leader that is well would be taken for dead.
    #[error("the election timeout must be more than three times the heartbeat interval")]
    HeartbeatsTooRare,
    /// openraft says so.
    #[error("the Raft intervals contradict each other: {0}")]
    Refused(#[from] openraft::ConfigError),
}

/// The openraft settings for the group of a shard.
///
/// # Errors
///
/// When the intervals in `options` contradict each other.
pub fn raft_config(shard: ShardId, options: &RaftOptions) -> Result<Config, BadTimes> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let third = options.election_timeout / 3;
    if options.heartbeat_interval >= third {
        return Err(BadTimes::HeartbeatsTooRare);
    }
    // A follower waits for the leader's lease, which is the maximum, and then for something between the two.
    let (election_min, election_max) = (millis(third), millis(third * 2));
    let config = Config {
        cluster_name: format!("shard-{shard}"),
        // How long a call may take; see `heartbeats`.
        heartbeat_interval: millis(third.saturating_sub(TIME_MIN)),
        election_timeout_min: election_min,
        election_timeout_max: election_max,
        // The time for which a leader without answers from its quorum falls silent, so that followers that
        // still hear it can elect another one (CheckQuorum, Raft dissertation §6.2).
        quorum_loss_probe_interval: Some(election_max.saturating_mul(2)),
        enable_pre_vote: Some(true),
        // A leader that restarts must win an election before it leads again. Otherwise it could
        // write new entries under the log ids of entries that it had sent to followers but lost
        // before the sync, and no replica could tell them apart.
        enable_leader_restore: Some(false),
        // A log that went back is a lost disk: the node comes back under a fresh replica id.
        allow_log_reversion: Some(false),
        // A replica stands for election only once the node's clock is trusted.
        enable_elect: false,
        snapshot_policy: SnapshotPolicy::Never,
        // The reconciler says what is purged.
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: ENTRIES_PER_APPEND_MAX,
        api_channel_size: Some(CORE_QUEUE_MAX),
        ..Config::default()
    };
    Ok(config.validate()?)
}
