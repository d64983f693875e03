//! A node loses its disk and comes back with an empty one.

use coupon_admin::ClusterStatus;
use coupon_checker::check;
use coupon_cluster::ReplicaRole;

use crate::support::campaign::{create, read_back};
use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::ports;
use crate::support::process::{Process, coupon, run};
use crate::support::status;

/// More than is ever asked for.
const QUOTA: u32 = 1_000_000;

/// So little log is kept that a replica which comes late needs a snapshot.
const SHORT_LOG: [&str; 2] = ["--log-entries-kept", "100"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_follower_is_rebuilt_from_a_snapshot() {
    let mut cluster = Cluster::start(&SHORT_LOG).await;
    create(&cluster, "wiped", QUOTA.into()).await;
    let shard = Cluster::shard_of("wiped");
    let load = Load::start(&cluster, "wiped", 8);
    load.grant(QUOTA as usize);
    let before = cluster
        .status("a purged log", false, |status| {
            let shard = status.shard(shard).unwrap();
            let leader = shard.leader_node_id.and_then(|leader| shard.on(leader).next());
            leader.and_then(|leader| leader.purged_index).is_some_and(|index| index >= 100)
        })
        .await;
    let leader = before.shard(shard).unwrap().leader_node_id.unwrap();
    let lost =
        before.shard(shard).unwrap().replicas.iter().find(|replica| replica.node_id != leader);
    let (node, lost) = (lost.unwrap().node_id, lost.unwrap().replica_id);

    cluster.kill(node);
    let old_data = cluster.wipe(node);
    cluster.restart(node);
    cluster
        .status("fresh replicas to vote", false, |status| {
            status::is_whole(status)
                && status.shards.iter().flat_map(|shard| shard.on(node)).all(|replica| {
                    replica.replica_id > lost
                        && replica.role == ReplicaRole::Voter
                        && replica.lag.is_some()
                })
        })
        .await;
    load.progress(500).await;
    let answers = load.stop().await;
    let verdict = check(&answers.with(read_back(&cluster, "wiped", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");

    let after = cluster.status("replicas to be equal", true, ClusterStatus::is_equal).await;
    let replicas = &after.shard(shard).unwrap().replicas;
    assert_eq!(replicas.len(), 3, "{replicas:?}");

    let old_data = old_data.to_str().unwrap();
    let join = cluster.addresses().join(",");
    refused(&cluster, node, old_data, &join, "was replaced by another one");

    // A node of another cluster, with a directory of this one.
    let port = ports::free();
    let address = format!("127.0.0.1:{port}");
    let other_data = cluster.dir().join("other");
    let args = ["node", "--node-id", "1", "--listen", &address, "--data"];
    let args: Vec<&str> = args.into_iter().chain(other_data.to_str()).collect();
    let mut other = Process::start(coupon(&args), &cluster.dir().join("other.log"));
    assert_eq!(other.address(), address);
    let unformed = run(&["status", "--node", &address]);
    assert_eq!(unformed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unformed.stderr).into_owned();
    assert!(said.contains("node 1") && said.contains("in no cluster yet"), "{said}");
    let init = run(&["cluster", "init", "--nodes", &address, "--shards", "1"]);
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    refused(&cluster, node, old_data, &address, "belongs to cluster");
    assert!(other.is_running());
}

/// Starts a node with a directory that it must not run on.
fn refused(cluster: &Cluster, node: u64, data: &str, join: &str, said: &str) {
    let log = cluster.dir().join("refused.log");
    let id = node.to_string();
    let listen = format!("127.0.0.1:{}", ports::free());
    let args = ["node", "--node-id", &id, "--data", data, "--listen", &listen, "--join", join];
    let mut refused = Process::start(coupon(&args), &log);
    // A mistake to be mended by a person: neither a crash nor something to be tried again.
    assert_eq!(refused.wait().code(), Some(3));
    assert!(refused.log().contains(said), "{}", refused.log());
    std::fs::remove_file(log).expect("it was just written");
}
