//! A network that loses long packets, and lets short ones through: a leader is heard, and its entries are not.

use std::time::{Duration, Instant};

use coupon_node::RaftOptions;
use coupon_proto::internal as pb;

use crate::support::{Caller, Session, TestCluster, create, issue, sequence, until};

/// In one direction: hardly any.
const DELAY: Duration = Duration::from_millis(1);
/// Commands in one entry that does not fit into a short packet.
const COMMANDS: u64 = 50;
/// How long the shard may be without an answer. Without help it is for ever.
const OUTAGE_MAX: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_leader_whose_entries_do_not_get_through_steps_aside() {
    let cluster = TestCluster::start_distant(RaftOptions::default(), DELAY).await;
    Caller::default().call(&cluster, create("c", 1_000, 0, 0)).await;
    let leader = cluster.leader().await;
    let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    followers.iter().for_each(|id| cluster.lose_long_packets_to(*id, true));
    let began = Instant::now();
    let commands: Vec<pb::Command> =
        (1..=COMMANDS).map(|number| issue("c", &format!("recipient-{number}"), number)).collect();
    let answered = until("an answer", async || {
        for node in 1..=3 {
            let Some(mut session) = Session::open(&cluster, node).await else { continue };
            let asked = session.propose(commands.clone());
            let Ok(Some(replies)) = tokio::time::timeout(OUTAGE_MAX, asked).await else { continue };
            let sequences: Vec<_> =
                replies.into_iter().filter_map(|reply| sequence(&Some(reply))).collect();
            if sequences.len() == commands.len() {
                return Some((node, sequences));
            }
        }
        None
    });
    let (by, mut sequences) = answered.await;
    assert_ne!(by, leader, "its entries do not get through");
    let outage = began.elapsed();
    assert!(outage <= OUTAGE_MAX, "it took {outage:?}");
    sequences.sort_unstable();
    assert!(sequences.into_iter().eq(1..=COMMANDS), "each was issued once");
}
