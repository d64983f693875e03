//! What `coupon status -o json` says.

use serde::Deserialize;

use super::process::coupon;

/// A cluster.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) cluster_id: String,
    pub(crate) epoch: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) shards: Vec<Shard>,
}

/// A node.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) node_id: u64,
    pub(crate) address: String,
    pub(crate) store_id: String,
    pub(crate) reachable: bool,
    pub(crate) state: String,
    pub(crate) clock_trusted: Option<bool>,
}

/// A shard.
#[derive(Debug, Deserialize)]
pub(crate) struct Shard {
    pub(crate) shard_id: u32,
    pub(crate) leader_node_id: Option<u64>,
    pub(crate) replicas: Vec<Replica>,
}

/// A replica.
#[derive(Debug, Deserialize)]
pub(crate) struct Replica {
    pub(crate) replica_id: u64,
    pub(crate) node_id: u64,
    pub(crate) role: String,
    pub(crate) state: String,
    pub(crate) applied_index: Option<u64>,
    pub(crate) purged_index: Option<u64>,
    pub(crate) lag: Option<u64>,
    pub(crate) digest: Option<String>,
}

impl Status {
    /// Asks the nodes; `None` when none of them answers.
    pub(crate) async fn ask(addresses: &[String], digests: bool) -> Option<Self> {
        let list = addresses.join(",");
        let mut args = vec!["status", "--node", &list, "-o", "json"];
        args.extend(digests.then_some("--digests"));
        let mut command = coupon(&args);
        // Not on the thread of the test, whose clients would stand still.
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("it does not panic").expect("the program was just built");
        serde_json::from_slice(&output.stdout).ok()
    }

    /// A shard.
    pub(crate) fn shard(&self, shard_id: u32) -> &Shard {
        let found = self.shards.iter().find(|shard| shard.shard_id == shard_id);
        found.expect("the shard is in the map")
    }

    /// Whether all replicas of all shards have applied the same and are in the same state.
    pub(crate) fn is_equal(&self) -> bool {
        self.shards.iter().all(|shard| {
            let first = &shard.replicas[0];
            shard.replicas.iter().all(|replica| {
                replica.digest.is_some()
                    && replica.digest == first.digest
                    && replica.applied_index == first.applied_index
            })
        })
    }

    /// Whether all nodes are up and trusted, all shards led, and all replicas caught up or nearly so.
    pub(crate) fn is_whole(&self) -> bool {
        /// What a replica may lag behind under load.
        const LAG_MAX: u64 = 200;
        let caught_up = |replica: &Replica| replica.lag.is_some_and(|lag| lag <= LAG_MAX);
        let votes = |replica: &Replica| matches!(&*replica.state, "leader" | "follower");
        self.nodes.iter().all(|node| node.reachable && node.clock_trusted == Some(true))
            && self.shards.iter().all(|shard| {
                shard.leader_node_id.is_some()
                    && shard.replicas.iter().all(|replica| caught_up(replica) && votes(replica))
            })
    }
}

impl Shard {
    /// The replica on a node.
    pub(crate) fn on(&self, node_id: u64) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(move |replica| replica.node_id == node_id)
    }
}
