//! Which process may act for a store: copies of a directory, nodes that moved, and nodes that
//! leave.

use coupon_admin::ClusterStatus;
use coupon_admin::NodeState;
use coupon_checker::check;

use crate::support::campaign::{CALL_TIMEOUT, create, read_back};
use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::ports;
use crate::support::process::{Process, coupon, run};
use crate::support::wait::until;

/// The quota of a campaign: more than any test issues.
const QUOTA: u32 = 1_000_000;

/// The exit code of a process that must not run as it was started.
const REFUSED: i32 = 3;

/// Issues some coupons and shows that all replicas hold the same.
async fn issue_and_compare(cluster: &Cluster, campaign: &str) {
    create(cluster, campaign, QUOTA.into()).await;
    let load = Load::start(cluster, campaign, 8);
    load.grant(300);
    let answers = load.finish().await;
    let verdict = check(&answers.with(read_back(cluster, campaign, QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
    cluster.status("equal digests", true, ClusterStatus::is_equal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_refused_while_the_original_runs() {
    let mut cluster = Cluster::start(&[]).await;
    assert!(cluster.stop(3).await);
    let copy = cluster.copy_data(3, "copy");
    cluster.restart(3);
    cluster.whole().await;
    let original = cluster.addresses()[2].clone();
    let (mut second, _) = cluster.start_beside(3, &copy);
    let ended = until("the copy to be refused", async || second.try_wait()).await;
    assert_eq!(ended.code(), Some(REFUSED), "{}", second.log());
    let said = format!("answers at {original} already");
    assert!(second.log().contains(&said), "{}", second.log());
    issue_and_compare(&cluster, "copy-last").await;
    assert_eq!(cluster.ended_by_itself(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_original_is_refused_while_a_copy_runs() {
    let mut cluster = Cluster::start(&[]).await;
    assert!(cluster.stop(3).await);
    let copy = cluster.copy_data(3, "copy");
    let (_second, address) = cluster.start_beside(3, &copy);
    cluster.whole().await;
    cluster.restart(3);
    assert_eq!(cluster.exit_code_of(3).await, Some(REFUSED));
    let said = format!("answers at {address} already");
    assert!(cluster.log_of(3).contains(&said), "{}", cluster.log_of(3));
    issue_and_compare(&cluster, "copy-first").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_copies_that_start_together_one_is_refused() {
    let mut cluster = Cluster::start(&[]).await;
    assert!(cluster.stop(3).await);
    let copy = cluster.copy_data(3, "copy");
    cluster.restart(3);
    let (mut second, _) = cluster.start_beside(3, &copy);
    let copy_lost = until("one of them to be refused", async || {
        if let Some(ended) = second.try_wait() {
            return Some((true, ended.code()));
        }
        cluster.ended_by_itself().map(|_| (false, None))
    })
    .await;
    if copy_lost.0 {
        assert_eq!(copy_lost.1, Some(REFUSED), "{}", second.log());
    } else {
        assert_eq!(cluster.exit_code_of(3).await, Some(REFUSED));
    }
    cluster.whole().await;
    issue_and_compare(&cluster, "together").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_exchanged_their_addresses_come_back_by_themselves() {
    let mut cluster = Cluster::start(&[]).await;
    issue_and_compare(&cluster, "before").await;
    // Without them there is no quorum to register a start.
    assert!(cluster.stop(2).await);
    cluster.stop(3).await;
    cluster.exchange_addresses(2, 3);
    cluster.restart(2);
    cluster.restart(3);
    let status = cluster.whole().await;
    let addresses = cluster.addresses();
    for node in &status.nodes {
        let place = usize::try_from(node.node_id).expect("a small number") - 1;
        assert_eq!(node.address, addresses[place], "the map has its new address");
    }
    issue_and_compare(&cluster, "after").await;
}

/// What the meta shard's last leader left behind says that it leads, and it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_come_back_without_the_leader_of_the_meta_shard() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "two", QUOTA.into()).await;
    let gone = cluster.leader_of(0).await;
    let left: Vec<u64> = (1..=3).filter(|node| *node != gone).collect();
    cluster.kill_all();
    cluster.restart(left[0]);
    until("the first one to run its replicas", async || {
        cluster.log_of(left[0]).contains("replicas run unregistered").then_some(())
    })
    .await;
    cluster.restart(left[1]);
    let led = |status: &ClusterStatus| {
        let up = status.nodes.iter().filter(|node| node.state == NodeState::Up).count();
        up == 2 && status.shards.iter().all(|shard| shard.leader_node_id.is_some())
    };
    cluster.status("all shards to be led by the two", false, led).await;
    let load = Load::start(&cluster, "two", 4);
    load.grant(100);
    load.finish().await;
}

#[tokio::test]
async fn a_node_that_is_not_registered_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("node.log");
    let nowhere = format!("127.0.0.1:{}", ports::free());
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let args =
        ["node", "--node-id", "7", "--data", data, "--listen", "127.0.0.1:0", "--join", &nowhere];
    let mut node = Process::start(coupon(&args), &log);
    let address = node.address();
    let health = run(&["health", &address]);
    assert_eq!(health.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&health.stderr).contains("does not serve"));
    // The node whose cluster it waits for comes and goes, which shows that it has asked several times.
    let asked = tokio::net::TcpListener::bind(&nowhere).await.expect("the port is free");
    for _ in 0..3 {
        let asks = tokio::time::timeout(CALL_TIMEOUT, asked.accept()).await;
        drop(asks.expect("it asks again").expect("it asks"));
    }
    let said = "not registered yet";
    let lines: Vec<String> =
        node.log().lines().filter(|line| line.contains(said)).map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "once a minute: {lines:?}");
    assert!(lines[0].contains(&nowhere), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_id_is_forgotten_and_a_node_removed() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "leave", QUOTA.into()).await;
    let nodes = cluster.addresses().join(",");
    let knows =
        |id: u64| move |status: &ClusterStatus| status.nodes.iter().any(|node| node.node_id == id);
    cluster.add(44);
    cluster.status("node 44", false, knows(44)).await;
    assert!(cluster.stop(44).await);
    cluster.rename(44, 6);
    cluster.restart(6);
    cluster.status("node 6 at the same address", false, knows(6)).await;

    let said = |args: &[&str]| {
        let output = run(&[&["cluster"], args, &["--node", &nodes, "--timeout", "60s"]].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (done, text) = said(&["forget", "44"]);
    assert!(done && text.contains("no longer"), "{text}");
    let (done, text) = said(&["forget", "44"]);
    assert!(!done && text.contains("has no node 44"), "{text}");
    let (done, text) = said(&["forget", "3"]);
    assert!(!done && text.contains("NODE_IN_USE"), "{text}");

    // Node 6 takes over what node 3 had, while coupons are issued.
    let load = Load::start(&cluster, "leave", 8);
    load.grant(QUOTA as usize);
    load.progress(200).await;
    let (done, text) = said(&["remove-node", "3"]);
    assert!(done, "{text}");
    assert_eq!(cluster.exit_code_of(3).await, Some(REFUSED));
    assert!(cluster.log_of(3).contains("was removed from the cluster"), "{}", cluster.log_of(3));
    cluster.forget(3);
    load.progress(500).await;
    let answers = load.stop().await;
    assert!(answers.failures.is_empty(), "{:?}", answers.failures);
    let verdict = check(&answers.with(read_back(&cluster, "leave", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
    let status = cluster.whole().await;
    assert_eq!(status.nodes.len(), 3);
    let (done, text) = said(&["remove-node", "6"]);
    assert!(!done && text.contains("NO_SPARE_NODE"), "{text}");
}
