//! A node comes back with an older copy of its directory. Together with a node that was away, it decides anew
//! what it had decided before with another one. No program can tell which of the two histories to keep: the
//! shard stops, loudly, and both stay on disk.

use std::time::{Duration, Instant};

use coupon_admin::ClusterStatus;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::Code;

use crate::support::campaign::{create, issue, reason, request};
use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::process::run;
use crate::support::store::copy;
use crate::support::wait::until;

/// The quota of a campaign: more than any test issues.
const QUOTA: u32 = 1_000_000;

/// The node that gets an older copy of its directory.
const FORGETFUL: u64 = 1;

/// Its log line if it is reminded of what it acknowledged.
const LOST: &str = "has lost entries that it acknowledged";

/// Timeout for a stopped shard to refuse a call: at once, on a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// The number of runs of the test, if not one.
const RUNS: &str = "TWO_HISTORIES_RUNS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_with_two_histories_stops() {
    let runs = std::env::var(RUNS).ok().map_or(1, |runs| runs.parse().expect("a number"));
    for run in 1..=runs {
        tell(false).await;
        eprintln!("{run} of {runs}");
    }
}

/// The meta shard was rolled back as well: it has forgotten the last start of the witness, which must not take
/// that for a proof against itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_the_meta_shard_has_forgotten_stops_the_shard_too() {
    tell(true).await;
}

async fn tell(witness_starts_again: bool) {
    let mut cluster = Cluster::start(&[]).await;
    let shard = Cluster::shard_of("twice");
    create(&cluster, "twice", QUOTA.into()).await;
    let load = Load::start(&cluster, "twice", 4);
    acknowledge(&load, 50).await;
    cluster.whole().await;
    let older = cluster.dir().join("older");
    copy(cluster.data_of(FORGETFUL), &older);
    cluster.kill(3);
    if witness_starts_again {
        assert!(cluster.stop(2).await);
        cluster.restart(2);
    }
    acknowledge(&load, 300).await;
    for node in [1, 2] {
        cluster.stop(node).await;
    }

    cluster.wipe(FORGETFUL);
    std::fs::rename(&older, cluster.data_of(FORGETFUL)).expect("bring the older copy back");
    cluster.restart(FORGETFUL);
    cluster.restart(3);
    cluster.leader_of(shard).await;
    acknowledge(&load, 50).await;
    load.finish().await;

    cluster.restart(2);
    stops(&cluster, shard).await;
    assert_stopped(&mut cluster, "at once").await;

    // The marks are durable: no restart brings the shard back.
    let is_lost = cluster.log_of(FORGETFUL).contains(LOST);
    for node in (1..=3).filter(|node| *node != FORGETFUL || !is_lost) {
        assert!(cluster.stop(node).await, "node {node} did not stop in order");
        cluster.restart(node);
    }
    stops(&cluster, shard).await;
    assert_stopped(&mut cluster, "after a restart").await;
}

/// Waits until the replicas of a shard are stopped. The node that forgot may be told so before it notices two
/// histories; then its store is lost.
async fn stops(cluster: &Cluster, shard: u32) {
    let stopped = |status: &ClusterStatus| {
        status.shard(shard).expect("the shard is in the map").replicas.iter().all(|replica| {
            let lost = replica.node_id == FORGETFUL && cluster.log_of(FORGETFUL).contains(LOST);
            replica.state == "diverged" || lost
        })
    };
    cluster.status("the shard to stop", false, stopped).await;
}

/// Issues coupons until `coupons` more are acknowledged.
async fn acknowledge(load: &Load, coupons: u32) {
    load.grant(coupons as usize);
    load.progress(coupons.into()).await;
}

async fn assert_stopped(cluster: &mut Cluster, when: &str) {
    let nodes = cluster.addresses().join(",");
    let status = run(&["status", "--node", &nodes]);
    let said = String::from_utf8_lossy(&status.stderr).into_owned();
    assert_eq!(status.status.code(), Some(1), "{when}: {said}");
    assert!(said.contains("has two histories"), "{when}: {said}");
    let mut client = CouponServiceClient::new(cluster.connect());
    // A router that still looks for the leader says so.
    let refused = until("the shard to refuse", async || {
        let asked = Instant::now();
        let status = issue(&mut client, request("twice", "latecomer")).await.expect_err("stopped");
        (status.code() == Code::DataLoss).then(|| (status, asked.elapsed()))
    });
    let (status, took) = refused.await;
    assert_eq!(reason(&status), "SHARD_DIVERGED", "{when}");
    assert!(took < REFUSED_WITHIN, "{when}: refused after {took:?}");
    for node in cluster.addresses() {
        assert!(!run(&["health", &node]).status.success(), "{when}: {node} says it is healthy");
    }
    // No node that remembers ends.
    let ended = cluster.ended_by_itself();
    assert!(ended.is_none_or(|node| node == FORGETFUL), "{when}: node {ended:?} has ended");
}
