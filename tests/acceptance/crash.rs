//! All nodes are killed at once, under load.

use std::time::{Duration, Instant};

use coupon_checker::check;

use crate::support::campaign::{create, read_back};
use crate::support::cluster::Cluster;
use crate::support::load::Load;

/// More than is ever asked for.
const QUOTA: u32 = 1_000_000;

/// How long it may take from the start of the nodes to the next coupon.
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_when_all_nodes_die() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "crash", QUOTA.into()).await;
    let load = Load::start(&cluster, "crash", 32);
    load.grant(QUOTA as usize);
    for _ in 0..2 {
        load.progress(3_000).await;
        cluster.kill_all();
        let restarted = Instant::now();
        for node in 1..=3 {
            cluster.restart(node);
        }
        load.progress(1).await;
        let recovery = restarted.elapsed();
        assert!(recovery <= RECOVERY, "it took {recovery:?} to serve again");
    }
    load.progress(1_000).await;
    let answers = load.stop().await;

    let verdict = check(&answers.with(read_back(&cluster, "crash", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
    assert!(verdict.acknowledged >= 7_000, "{verdict}");
}
