//! A campaign starts once, at its time, although one node's clock is an hour off and leaders change.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coupon_env::{Clock as _, SystemClock};
use coupon_node::RaftOptions;
use coupon_proto::internal as pb;

use crate::support::{
    Caller, SHARD, Session, TestCluster, create, issue, refusal, sequence, until,
};

const HOUR_MICROS: i64 = 3_600_000_000;

#[tokio::test]
async fn a_campaign_starts_at_its_time_although_a_clock_is_an_hour_ahead() {
    starts_at_its_time(HOUR_MICROS).await;
}

#[tokio::test]
async fn a_campaign_starts_at_its_time_although_a_clock_is_an_hour_behind() {
    starts_at_its_time(-HOUR_MICROS).await;
}

#[tokio::test]
async fn a_clock_that_is_off_from_the_beginning_stamps_nothing() {
    let cluster = TestCluster::unformed().await;
    // The node that wins a race for the first leadership, since its id is the greatest.
    cluster.nodes[&3].clock.0.store(HOUR_MICROS, Ordering::Relaxed);
    cluster.init(1).await;
    let start = SystemClock.now_micros() + HOUR_MICROS.unsigned_abs() / 2;
    let mut caller = Caller::default();
    caller.call(&cluster, create("launch", 1, start, 0)).await;
    let early = caller.call(&cluster, issue("launch", "", 1)).await;
    assert_eq!(refusal(&early), Some(pb::RefusalReason::NotStarted));
    assert!(!cluster.status(3, false).await.clock_trusted);
}

async fn starts_at_its_time(shift_micros: i64) {
    let cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    // The clock of the leader itself goes wrong: it has to give up its place.
    cluster.nodes[&leader].clock.0.store(shift_micros, Ordering::Relaxed);
    let next = until("a leader with a good clock", async || {
        let next = cluster.leader().await;
        (next != leader).then_some(next)
    })
    .await;
    assert!(!cluster.status(leader, false).await.clock_trusted);

    let start = SystemClock.now_micros() + 4_000_000;
    let mut caller = Caller::default();
    caller.call(&cluster, create("launch", 100, start, 0)).await;
    let early = caller.call(&cluster, issue("launch", "", 1)).await;
    assert_eq!(refusal(&early), Some(pb::RefusalReason::NotStarted));

    // Leadership moves between the good nodes while everybody waits for the start.
    let third = (1..=3).find(|id| *id != leader && *id != next).unwrap();
    let transfer = pb::TransferLeadershipRequest { shard_id: SHARD, to_node_id: third };
    until("a follower that is caught up", async || {
        let leader_now = cluster.leader().await;
        let moved = cluster.cluster_client(leader_now).await.transfer_leadership(transfer).await;
        (moved.is_ok() || leader_now == third).then_some(())
    })
    .await;

    let mut number = 2;
    let issued_at = until("the start", async || {
        let leader_now = cluster.leader().await;
        assert_ne!(leader_now, leader, "a node with a wrong clock leads");
        let mut session = Session::open(&cluster, leader_now).await?;
        loop {
            number += 1;
            let before = SystemClock.now_micros();
            let reply = session.one(issue("launch", "", number)).await;
            if sequence(&reply).is_some() {
                return Some(SystemClock.now_micros());
            }
            match refusal(&reply) {
                // Refused by log time, which the good clocks make: never after the start.
                Some(reason) => {
                    assert_eq!(reason, pb::RefusalReason::NotStarted);
                    assert!(before < start + 500_000, "refused after the start");
                }
                None => return None,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(issued_at + 500_000 >= start, "issued before the start");
}
