//! Nodes that are far from each other: 200 ms there and back.

use std::time::Duration;

use coupon_node::RaftOptions;
use coupon_proto::internal as pb;

use crate::support::{Caller, SHARD, TestCluster, create, issue, sequence, until};

/// In one direction.
const DELAY: Duration = Duration::from_millis(100);
/// Longer than a leader's lease, so that heartbeats alone keep it.
const IDLE: Duration = Duration::from_millis(700);

#[tokio::test]
async fn nodes_far_apart_elect_and_serve() {
    let mut cluster = TestCluster::start_distant(RaftOptions::default(), DELAY).await;
    let mut caller = Caller::default();
    caller.call(&cluster, create("c", 100, 0, 0)).await;
    let mut number = 0;
    let mut next = async |cluster: &TestCluster| {
        number += 1;
        let reply = caller.call(cluster, issue("c", &format!("r{number}"), number)).await;
        assert_eq!(sequence(&reply), Some(number));
    };
    for _ in 0..4 {
        next(&cluster).await;
        tokio::time::sleep(IDLE).await;
    }
    let leader = cluster.leader().await;
    let transfer = pb::TransferLeadershipRequest { shard_id: SHARD, to_node_id: 0 };
    until("a transfer", async || {
        cluster.cluster_client(leader).await.transfer_leadership(transfer).await.ok()
    })
    .await;
    next(&cluster).await;
    let leader = cluster.leader().await;
    cluster.halt(leader).await;
    for _ in 0..4 {
        next(&cluster).await;
    }
}
