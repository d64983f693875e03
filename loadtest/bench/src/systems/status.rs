//! What a benchmark asks `coupon status`.

use std::path::Path;

use anyhow::Context as _;
use coupon_admin::ClusterStatus;

use crate::machine::process::{command, output};

/// Maximum number of entries that a replica lags behind in a cluster that is ready to be measured.
const LAG_MAX: u64 = 200;

/// Asks the nodes.
pub(crate) fn ask(program: &Path, nodes: &str) -> anyhow::Result<ClusterStatus> {
    let answer = output(command(program, &["status", "--node", nodes, "-o", "json"]))?;
    let refused = || String::from_utf8_lossy(&answer.stderr).trim().to_owned();
    serde_json::from_slice(&answer.stdout).with_context(refused).context("coupon status")
}

/// Whether every node is up, and every shard has a leader and followers that keep up with it.
pub(crate) fn is_whole(status: &ClusterStatus) -> bool {
    status.is_whole(LAG_MAX)
}

/// The index of the last entry that any replica of a shard has applied: the leader applies an entry before it
/// answers.
pub(crate) fn applied_index(status: &ClusterStatus, shard_id: u32) -> anyhow::Result<u64> {
    let replicas = status.shard(shard_id).into_iter().flat_map(|shard| &shard.replicas);
    replicas.filter_map(|replica| replica.applied_index).max().context("no replica answers")
}
