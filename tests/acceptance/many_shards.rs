//! Many shards that nobody uses, whose heartbeats go from node to node in one call.

use std::collections::BTreeMap;

use coupon_admin::{ClusterStatus, ShardStatus};

use crate::support::cluster::Cluster;
use crate::support::wait::until;

/// How many shards own campaigns: a call has heartbeats of a third of them.
const SHARDS: u32 = 48;

/// So long that no shard changes its leader because the machine is busy.
const ELECTION_TIMEOUT: [&str; 2] = ["--election-timeout", "3s"];

/// The node that hangs.
const HUNG: u64 = 3;

/// The leader of each shard and its term.
type Leaders = BTreeMap<u32, (u64, u64)>;

fn leaders(status: &ClusterStatus) -> Leaders {
    let led = |shard: &ShardStatus| Some((shard.leader_node_id?, shard.term?));
    status.shards.iter().filter_map(|shard| Some((shard.shard_id, led(shard)?))).collect()
}

/// Whether every shard is led by the node that leads it in the end: leaders are spread in the order of the shards.
fn is_settled(status: &ClusterStatus) -> bool {
    let mut led: BTreeMap<u64, u32> = BTreeMap::new();
    status.shards.iter().all(|shard| {
        let load = |node: u64| led.get(&node).copied().unwrap_or(0);
        let replicas = shard.replicas.iter();
        let preferred = replicas.min_by_key(|replica| (load(replica.node_id), replica.replica_id));
        let preferred = preferred.expect("a shard has replicas").node_id;
        *led.entry(preferred).or_default() += 1;
        shard.leader_node_id == Some(preferred)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_costs_only_the_shards_that_it_leads_their_leader() {
    let mut cluster = Cluster::with_shards(SHARDS, &ELECTION_TIMEOUT).await;
    let settled = cluster.status("all shards at their leaders", false, is_settled).await;
    let (of_the_hung, of_others): (Leaders, Leaders) =
        leaders(&settled).into_iter().partition(|(_, (node, _))| *node == HUNG);
    assert!(of_the_hung.len() > 10 && of_others.len() > 20, "{settled:?}");
    let unchanged = |status: &ClusterStatus| -> Leaders {
        leaders(status).into_iter().filter(|(shard, _)| of_others.contains_key(shard)).collect()
    };

    cluster.pause(HUNG);
    let replaced = until("other leaders", async || {
        let status = cluster.status("an answer", false, |_| true).await;
        let now = leaders(&status);
        let is_replaced = |shard| now.get(shard).is_some_and(|(node, _)| *node != HUNG);
        of_the_hung.keys().all(is_replaced).then_some(status)
    })
    .await;
    assert_eq!(unchanged(&replaced), of_others);

    cluster.resume(HUNG);
    assert_eq!(unchanged(&cluster.whole().await), of_others);
}
