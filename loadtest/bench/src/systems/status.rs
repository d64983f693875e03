//! The part of `coupon status -o json` that a benchmark needs.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use crate::machine::process::{command, output};

/// Maximum number of entries that a replica lags behind in a cluster that is ready to be measured.
const LAG_MAX: u64 = 200;

/// A cluster.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    shards: Vec<Shard>,
}

#[derive(Debug, Deserialize)]
struct Shard {
    shard_id: u32,
    leader_node_id: Option<u64>,
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    state: String,
    applied_index: Option<u64>,
    lag: Option<u64>,
}

impl Status {
    /// Asks the nodes.
    pub(crate) fn ask(program: &Path, nodes: &str) -> anyhow::Result<Self> {
        let answer = output(command(program, &["status", "--node", nodes, "-o", "json"]))?;
        let refused = || String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        serde_json::from_slice(&answer.stdout).with_context(refused).context("coupon status")
    }

    /// Whether every shard has a leader, and followers that keep up with it.
    pub(crate) fn is_whole(&self) -> bool {
        let keeps_up = |replica: &Replica| {
            matches!(&*replica.state, "leader" | "follower")
                && replica.lag.is_some_and(|lag| lag <= LAG_MAX)
        };
        let is_led = |shard: &Shard| shard.leader_node_id.is_some();
        self.shards.len() > 1
            && self.shards.iter().all(|shard| is_led(shard) && shard.replicas.iter().all(keeps_up))
    }

    /// The index of the last entry that any replica of a shard has applied: the leader applies an entry
    /// before it answers.
    pub(crate) fn applied_index(&self, shard_id: u32) -> anyhow::Result<u64> {
        let shard = self.shards.iter().find(|shard| shard.shard_id == shard_id);
        let replicas = shard.into_iter().flat_map(|shard| &shard.replicas);
        replicas.filter_map(|replica| replica.applied_index).max().context("no replica answers")
    }
}
