//! A node that lost its disk comes back with fresh replicas, through snapshots, under load.

use std::time::Duration;

use coupon_node::RaftOptions;
use coupon_proto::internal as pb;

use crate::support::{Caller, TestCluster, create, issue, sequence, until};

#[tokio::test]
async fn a_wiped_node_rejoins_through_a_snapshot_under_load() {
    let options = RaftOptions {
        log_entries_kept: 50,
        heartbeat_interval: Duration::from_millis(100),
        ..RaftOptions::default()
    };
    let mut cluster = TestCluster::start(options).await;
    // Without the node that is stopped below, the meta shard needs the others' votes.
    until("three voters of each shard", async || settled(&cluster, 1).await).await;
    let mut caller = Caller::default();
    caller.call(&cluster, create("c", 1_000_000, 0, 0)).await;
    let mut number = 0;
    let mut load = async |cluster: &TestCluster, entries: u64| {
        for _ in 0..entries {
            number += 1;
            let reply = caller.call(cluster, issue("c", &format!("r{number}"), number)).await;
            assert_eq!(sequence(&reply), Some(number));
        }
    };
    load(&cluster, 200).await;

    let leader = cluster.leader().await;
    let victim = (1..=3).find(|id| *id != leader).unwrap();
    let before = cluster.replica_status(victim, false).await.unwrap();
    let address = cluster.nodes[&victim].address.clone();
    cluster.stop(victim).await;
    load(&cluster, 600).await;
    until("a purged log", async || {
        let status = cluster.replica_status(cluster.leader().await, false).await?;
        (status.purged_index >= 600).then_some(())
    })
    .await;
    let fresh = cluster.dir.path().join("fresh");
    cluster.boot(victim, &fresh, &address).await;

    let after = until("the fresh replica to be a voter", async || {
        load(&cluster, 5).await;
        let status = cluster.replica_status(victim, false).await?;
        (status.state == "follower" && status.applied_index > 0).then_some(status)
    })
    .await;
    assert!(after.replica_id > before.replica_id, "a replica id was used again");
    assert!(after.purged_index > 0, "it caught up without a snapshot");
    load(&cluster, 20).await;
    until("equal digests", async || {
        let other = cluster.nodes.keys().copied().find(|id| *id != victim)?;
        let mine = cluster.replica_status(victim, true).await?;
        let theirs = cluster.replica_status(other, true).await?;
        (mine.applied_index == theirs.applied_index && mine.digest == theirs.digest).then_some(())
    })
    .await;

    // The map has written the old replica off, on every shard.
    until("the old replicas to be gone from the map", async || settled(&cluster, leader).await)
        .await;
}

/// Whether every shard has three replicas that vote, and no other, by the map that a node knows.
async fn settled(cluster: &TestCluster, node: u64) -> Option<()> {
    let question = pb::WatchShardMapRequest {};
    let maps = cluster.cluster_client(node).await.watch_shard_map(question).await.ok()?;
    let map = maps.into_inner().message().await.ok()??.map?;
    let votes = |role| matches!(role, pb::ReplicaRole::Initial | pb::ReplicaRole::Voter);
    let is_settled = |shard: &pb::ShardInfo| {
        shard.replicas.len() == 3 && shard.replicas.iter().all(|replica| votes(replica.role()))
    };
    map.shards.iter().all(is_settled).then_some(())
}
