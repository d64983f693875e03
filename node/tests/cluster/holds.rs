//! What reads show of holds whose confirmation is under way.

use std::time::Duration;

use coupon_env::{Clock as _, SystemClock};
use coupon_node::RaftOptions;
use coupon_proto::internal as pb;
use futures::future::join_all;

use crate::support::{Session, TestCluster, confirm, create, get_campaign, hold, outcome, until};

/// Between two nodes, in one direction: entries and reads are under way for twice as long.
const DELAY: Duration = Duration::from_millis(100);
const TTL: Duration = Duration::from_secs(1);
/// How long before the end of its hold a confirmation is sent: less than it is under way.
const BEFORE_END: Duration = Duration::from_millis(60);
/// How many reads are sent from half a second before the end on, and how far apart.
const READS: u32 = 100;
const READ_INTERVAL: Duration = Duration::from_millis(5);

/// The hold has expired by the clock of the leader before its confirmation is decided, which is stamped earlier.
#[tokio::test]
async fn a_hold_that_is_confirmed_never_shows_as_expired() {
    let cluster = TestCluster::start_distant(RaftOptions::default(), DELAY).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(&cluster, leader).await.unwrap();
    let reader = cluster.shard_client(leader).await;
    session.one(create("c", 1_000, 0, 0)).await.unwrap();
    let mut number = 0;
    // A confirmation may come too late for its hold.
    until("a hold that is confirmed shortly before its end", async || {
        number += 2;
        let ttl_micros = u64::try_from(TTL.as_micros()).unwrap();
        let held = session.one(hold("c", number, ttl_micros)).await;
        let Some(pb::outcome::Outcome::HoldChanged(held)) = outcome(&held) else {
            panic!("{held:?}");
        };
        let end = held.hold.as_ref().unwrap().expire_micros;
        let left = Duration::from_micros(end.saturating_sub(SystemClock.now_micros()));
        let first = left.saturating_sub(READ_INTERVAL * READS);
        let reads = (0..READS).map(|read| {
            let mut reader = reader.clone();
            async move {
                tokio::time::sleep(first + READ_INTERVAL * read).await;
                let answer = reader.read(get_campaign("c")).await.unwrap().into_inner();
                let counters = answer.campaigns[0].counters.unwrap();
                counters.issued + counters.held
            }
        });
        let confirmation = async {
            tokio::time::sleep(left.saturating_sub(BEFORE_END)).await;
            session.one(confirm("c", number, number + 1)).await
        };
        let (claimed, confirmed) = tokio::join!(join_all(reads), confirmation);
        let is_confirmed =
            matches!(outcome(&confirmed), Some(pb::outcome::Outcome::HoldConfirmed(_)));
        // Those before were not confirmed.
        assert!(!is_confirmed || claimed.iter().all(|claimed| *claimed == 1), "{claimed:?}");
        is_confirmed.then_some(())
    })
    .await;
}
