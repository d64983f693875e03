//! Slow is not dead: clusters on slow disks form, elect and serve.

use std::time::{Duration, Instant};

use coupon_checker::check;

use crate::support::campaign::{create, read_back};
use crate::support::cluster::Cluster;
use crate::support::load::Load;

/// More than is ever asked for.
const QUOTA: u32 = 1_000_000;

/// How many clients there are. What they ask for together is made durable together.
const CLIENTS: usize = 400;

/// Issues through a cluster whose syncs take `sync` longer, has all its nodes die, and issues again.
async fn serves(sync: &str, recovery_max: Duration) {
    let mut cluster = Cluster::on_slow_disks(sync);
    create(&cluster, "slow", QUOTA.into()).await;
    let load = Load::start(&cluster, "slow", CLIENTS);
    load.grant(QUOTA as usize);
    let began = Instant::now();
    load.progress(3 * CLIENTS as u64).await;
    println!("{sync} a sync: {:.0} coupons a second", 1_200.0 / began.elapsed().as_secs_f64());
    cluster.kill_all();
    let restarted = Instant::now();
    (1..=3).for_each(|node| cluster.restart(node));
    // More than can have been on their way.
    load.progress(CLIENTS as u64 + 1).await;
    let recovery = restarted.elapsed();
    println!("{sync} a sync: it serves {recovery:?} after all nodes were started again");
    assert!(recovery <= recovery_max, "it took {recovery:?} to serve again");
    load.progress(CLIENTS as u64).await;
    let answers = load.stop().await;
    let verdict = check(&answers.with(read_back(&cluster, "slow", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
    let log = cluster.log_of(1);
    assert!(log.contains("disks or the network are slow"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_take_a_quarter_of_a_second_are_served_from() {
    serves("250ms", Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_take_more_than_a_second_are_served_from() {
    serves("1.3s", Duration::from_secs(60)).await;
}
