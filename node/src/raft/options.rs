//! Settings of Raft groups, as openraft takes them.

use std::time::Duration;

use coupon_cluster::ShardId;
use openraft::{Config, SnapshotPolicy};

use crate::config::RaftOptions;

/// Maximum number of entries in one replication request; their bytes are bounded as well.
const ENTRIES_PER_APPEND_MAX: u64 = 256;
/// Maximum number of calls that wait for a group's core.
const CORE_QUEUE_MAX: u64 = 4_096;

/// The intervals in [`RaftOptions`] contradict each other.
#[derive(Debug, thiserror::Error)]
#[error("the Raft intervals contradict each other: {0}")]
pub struct BadTimes(#[from] openraft::ConfigError);

/// The openraft settings for the group of a shard.
///
/// # Errors
///
/// When the intervals in `options` contradict each other.
pub fn raft_config(shard: ShardId, options: &RaftOptions) -> Result<Config, BadTimes> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: format!("shard-{shard}"),
        heartbeat_interval: millis(options.heartbeat_interval),
        // A follower waits for the leader's lease, which is the maximum, and then for something
        // between the two.
        election_timeout_min: millis(options.election_timeout / 3),
        election_timeout_max: millis(options.election_timeout / 3 * 2),
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
        max_in_snapshot_log_to_keep: options.log_entries_kept,
        purge_batch_size: 1_024,
        max_payload_entries: ENTRIES_PER_APPEND_MAX,
        api_channel_size: Some(CORE_QUEUE_MAX),
        ..Config::default()
    };
    Ok(config.validate()?)
}
