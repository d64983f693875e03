//! A node comes back without the end of its write-ahead log, or without all of it, as after a restored backup
//! or a disk that lied. It must never vote again on what it forgot, whichever other nodes were restarted
//! meanwhile.

use coupon_admin::ReplicaStatus;
use coupon_checker::check;

use crate::support::campaign::{create, read_back};
use crate::support::cluster::Cluster;
use crate::support::load::{Answers, Load};
use crate::support::status;
use crate::support::store::{copy, cut_wal, delete_wal};
use crate::support::wait::until;

/// Enough for many records in the log, and few enough to stay in it.
const QUOTA: u32 = 500;

/// How much of a log is lost.
const LOST_BYTES: u64 = 100 << 10;

/// The log line of a node whose store has lost acknowledged writes.
const SAID: &str = "has lost ";

/// A cluster, and what it acknowledged.
async fn loaded(campaign_id: &str) -> (Cluster, Answers) {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, campaign_id, QUOTA.into()).await;
    let load = Load::start(&cluster, campaign_id, 4);
    load.grant(QUOTA as usize / 2);
    let answers = load.finish().await;
    cluster.whole().await;
    (cluster, answers)
}

/// The replicas of a node.
async fn replicas_on(cluster: &Cluster, node: u64) -> Vec<u64> {
    let status = cluster.whole().await;
    status.shards.iter().flat_map(|shard| shard.on(node)).map(|found| found.replica_id).collect()
}

fn runs(replica: &ReplicaStatus) -> bool {
    !matches!(&*replica.state, "unreachable" | "absent")
}

/// Waits until a node that was just started has given up its store: it ends, or it comes back with fresh
/// replicas in place of the `old` ones, none of which ever runs.
async fn gives_up(cluster: &mut Cluster, node: u64, old: &[u64]) {
    let addresses = cluster.addresses();
    until("the store to be given up", async || {
        if cluster.ended_by_itself() == Some(node) {
            return Some(());
        }
        // Read before the status, since the node may find out between the two.
        let has_said = cluster.log_of(node).contains(SAID);
        let status = status::ask(&addresses, false).await?;
        let here: Vec<&ReplicaStatus> =
            status.shards.iter().flat_map(|shard| shard.on(node)).collect();
        assert!(
            !here.iter().any(|found| runs(found) && old.contains(&found.replica_id)) || !has_said,
            "a replica that forgot goes on: {here:?}"
        );
        let fresh = |found: &&ReplicaStatus| !old.contains(&found.replica_id) && runs(found);
        (!here.is_empty() && here.iter().all(fresh)).then_some(())
    })
    .await;
    let log = cluster.log_of(node);
    assert!(log.contains(SAID), "{log}");
}

/// Everything acknowledged is there, and nothing else.
async fn assert_nothing_lost(cluster: &Cluster, campaign_id: &str, answers: &Answers) {
    let verdict = check(&answers.with(read_back(cluster, campaign_id, QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_the_end_of_its_log_is_given_up() {
    let (mut cluster, answers) = loaded("tail").await;
    let leader = cluster.leader_of(Cluster::shard_of("tail")).await;
    let loser = (1..=3).find(|id| *id != leader).expect("there are three");
    let old = replicas_on(&cluster, loser).await;
    cluster.kill(loser);
    cut_wal(cluster.data_of(loser), LOST_BYTES);
    cluster.restart(loser);
    gives_up(&mut cluster, loser, &old).await;
    assert_nothing_lost(&cluster, "tail", &answers).await;
}

/// No leader remembers what the follower told it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_given_up_after_the_others_were_restarted_as_well() {
    let (mut cluster, answers) = loaded("restarted").await;
    let leader = cluster.leader_of(Cluster::shard_of("restarted")).await;
    let loser = (1..=3).find(|id| *id != leader).expect("there are three");
    let old = replicas_on(&cluster, loser).await;
    cluster.kill(loser);
    cut_wal(cluster.data_of(loser), LOST_BYTES);
    let others: Vec<u64> = (1..=3).filter(|id| *id != loser).collect();
    for other in &others {
        assert!(cluster.stop(*other).await);
    }
    // It comes first, so that it could be elected with either of the others.
    cluster.restart(loser);
    others.iter().for_each(|other| cluster.restart(*other));
    gives_up(&mut cluster, loser, &old).await;
    assert_nothing_lost(&cluster, "restarted", &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_lost_the_end_of_its_log_is_given_up() {
    let (mut cluster, answers) = loaded("led").await;
    let loser = cluster.leader_of(Cluster::shard_of("led")).await;
    let old = replicas_on(&cluster, loser).await;
    cluster.kill(loser);
    cut_wal(cluster.data_of(loser), LOST_BYTES);
    cluster.restart(loser);
    gives_up(&mut cluster, loser, &old).await;
    assert_nothing_lost(&cluster, "led", &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_log_is_given_up_after_all_were_stopped() {
    let (mut cluster, answers) = loaded("deleted").await;
    let loser = 2;
    let old = replicas_on(&cluster, loser).await;
    for node in 1..=3 {
        assert!(cluster.stop(node).await);
    }
    delete_wal(cluster.data_of(loser));
    (1..=3).for_each(|node| cluster.restart(node));
    gives_up(&mut cluster, loser, &old).await;
    assert_nothing_lost(&cluster, "deleted", &answers).await;
}

/// An older copy of a whole directory holds no hint of what is missing. The other nodes remember.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_remember_what_a_node_acknowledged() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "remembered", QUOTA.into()).await;
    let load = Load::start(&cluster, "remembered", 4);
    load.grant(100);
    load.progress(100).await;
    let loser = 2;
    let old = replicas_on(&cluster, loser).await;
    let older = cluster.dir().join("older");
    cluster.kill(loser);
    copy(cluster.data_of(loser), &older);
    cluster.restart(loser);
    cluster.whole().await;
    load.grant(200);
    load.progress(200).await;
    for node in 1..=3 {
        assert!(cluster.stop(node).await);
    }
    cluster.wipe(loser);
    std::fs::rename(&older, cluster.data_of(loser)).expect("bring the older copy back");
    (1..=3).for_each(|node| cluster.restart(node));
    gives_up(&mut cluster, loser, &old).await;
    assert_nothing_lost(&cluster, "remembered", &load.finish().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_all_lost_the_end_of_their_logs_do_not_serve() {
    let (mut cluster, _) = loaded("all").await;
    cluster.kill_all();
    for node in 1..=3 {
        cut_wal(cluster.data_of(node), 8 << 10);
        cluster.restart(node);
    }
    until("all of them to say so", async || {
        (1..=3).all(|node| cluster.log_of(node).contains(SAID)).then_some(())
    })
    .await;
    let addresses = cluster.addresses();
    if let Some(status) = status::ask(&addresses, false).await {
        assert!(status.shards.iter().all(|shard| shard.leader_node_id.is_none()), "{status:?}");
    }
}
