//! Nodes are restarted on purpose, one after another, and nobody notices.

use coupon_checker::check;

use crate::support::campaign::{create, read_back};
use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::process::run;

/// More than is ever asked for.
const QUOTA: u32 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "rolling", QUOTA.into()).await;
    let load = Load::start(&cluster, "rolling", 16);
    load.grant(QUOTA as usize);
    for node in 1..=3 {
        load.progress(500).await;
        assert!(cluster.stop(node).await, "node {node} did not stop in order");
        load.progress(500).await;
        cluster.restart(node);
        cluster.whole().await;
    }
    let answers = load.stop().await;
    assert!(answers.failures.is_empty(), "{:?}", answers.failures);

    let verdict = check(&answers.with(read_back(&cluster, "rolling", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forming_a_cluster_again_changes_nothing() {
    let cluster = Cluster::start(&[]).await;
    let nodes = cluster.addresses().join(",");
    let before = cluster.whole().await;
    let again = run(&["cluster", "init", "--nodes", &nodes, "--shards", "2"]);
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(said.contains("exists already: 3 nodes, 2 shards"), "{said}");
    assert!(said.contains(&before.cluster_id), "{said}");

    let other = run(&["cluster", "init", "--nodes", &nodes, "--shards", "7"]);
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(!other.status.success() && said.contains("has 2 shards, not 7"), "{said}");
}
