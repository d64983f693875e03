//! Two of three nodes are gone, and the one that is left leads nobody.

use crate::support::cluster::Cluster;
use crate::support::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_quorum_is_shown_as_none() {
    let mut cluster = Cluster::start(&[]).await;
    let leader = cluster.leader_of(1).await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    others.iter().for_each(|id| cluster.kill(*id));
    let nobody_leads =
        |status: &coupon_admin::ClusterStatus| status.shard(1).unwrap().leader_node_id.is_none();
    cluster.status("nobody to lead", false, nobody_leads).await;
    until("the leader to say so", async || {
        cluster.log_of(leader).contains("no quorum answers this leader").then_some(())
    })
    .await;
    assert_eq!(cluster.ended_by_itself(), None);
    others.iter().for_each(|id| cluster.restart(*id));
    cluster.whole().await;
}
