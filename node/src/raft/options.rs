//! How Raft groups run, as openraft wants it said.

use std::time::Duration;

use coupon_cluster::ShardId;
use openraft::{Config, SnapshotPolicy};

use crate::config::RaftOptions;

/// How many entries one replication request carries at most; their bytes are bounded as well.
const ENTRIES_PER_APPEND_MAX: u64 = 256;
/// How many calls may wait for a group's core.
const CORE_QUEUE_MAX: u64 = 4_096;

/// The times of [`RaftOptions`] do not go together.
#[derive(Debug, thiserror::Error)]
#[error("the times of Raft do not go together: {0}")]
pub struct BadTimes(#[from] openraft::ConfigError);

/// How the group of a shard runs.
///
/// # Errors
///
/// When the times of `options` do not go together.
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
        // A leader that restarts must win an election before it leads again. Restored without one
        // it would write other entries under the log ids of those that it had sent to followers
        // and lost un-synced, and nobody could tell them apart.
        enable_leader_restore: Some(false),
        // A log that went back is a lost disk, which comes back under a fresh replica id.
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
