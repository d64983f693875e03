//! Followers of an idle shard stay with the leader that they hear.

use std::time::Duration;

use coupon_node::RaftOptions;
use coupon_proto::internal as pb;

use crate::support::{Caller, SHARD, TestCluster, create, issue, sequence};

/// A leader's lease is two thirds of it.
const ELECTION_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Longer than a lease, so that heartbeats alone keep it.
const IDLE: Duration = Duration::from_millis(1_200);
/// More terms than elections need.
const TERMS: u64 = 1_000;

#[tokio::test]
async fn a_follower_that_hears_its_leader_votes_for_nobody_else() {
    let options = RaftOptions { election_timeout: ELECTION_TIMEOUT, ..RaftOptions::default() };
    let mut cluster = TestCluster::start(options).await;
    let mut caller = Caller::default();
    caller.call(&cluster, create("c", 100, 0, 0)).await;
    let leader = cluster.leader().await;
    tokio::time::sleep(IDLE).await;
    for follower in (1..=3).filter(|id| *id != leader) {
        let status = cluster.replica_status(follower, false).await.unwrap();
        let (term, replica_id) = (status.term + TERMS, status.replica_id + TERMS);
        let envelope = pb::Envelope {
            shard_id: SHARD,
            to_replica_id: status.replica_id,
            acknowledged_index: 0,
        };
        let asked = |pre_vote| pb::RequestVoteRequest {
            envelope: Some(envelope),
            vote: Some(pb::Vote { term, replica_id, committed: false }),
            last_log_id: Some(pb::LogId { term, leader_replica_id: replica_id, index: TERMS }),
            leadership_transfer: false,
            pre_vote,
        };
        let mut client = cluster.raft_client(follower).await;
        for pre_vote in [true, false] {
            let answer = client.request_vote(asked(pre_vote)).await.unwrap().into_inner();
            assert!(!answer.granted && answer.vote.unwrap().term < term, "{pre_vote}");
        }
    }
    // The leader issues on, and when it is gone, another one does.
    for number in 1..=4 {
        let reply = caller.call(&cluster, issue("c", &format!("r{number}"), number)).await;
        assert_eq!(sequence(&reply), Some(number));
        if number == 2 {
            cluster.halt(cluster.leader().await).await;
        }
    }
}
