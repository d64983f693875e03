//! Leaders are killed and back before anybody has missed them.

use coupon_admin::ClusterStatus;
use coupon_checker::check;

use crate::support::campaign::{create, read_back};
use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::status;
use crate::support::wait::until;

/// More than is ever asked for.
const QUOTA: u32 = 1_000_000;

/// How often the leader is killed.
const KILLS: usize = 12;

/// Entries reach followers before the leader's own disk. A leader that came back without them and
/// led on in the same term would give their log ids to other entries, and replicas would differ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_back_at_once_leads_no_more() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "quick", QUOTA.into()).await;
    let shard = Cluster::shard_of("quick");
    let load = Load::start(&cluster, "quick", 32);
    load.grant(QUOTA as usize);
    for _ in 0..KILLS {
        load.progress(500).await;
        let leader = cluster.leader_of(shard).await;
        cluster.kill(leader);
        cluster.restart(leader);
    }
    load.progress(500).await;
    let answers = load.stop().await;

    let verdict = check(&answers.with(read_back(&cluster, "quick", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
    let addresses = cluster.addresses();
    until("equal digests on all replicas", async || {
        status::ask(&addresses, true).await.filter(ClusterStatus::is_equal)
    })
    .await;
}
