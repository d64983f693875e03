//! The leader is killed, and whoever had no answer asks again with the same request id.

use crate::issued::until_issued;
use crate::report::{Report, loadtest};
use crate::support::cluster::Cluster;

const CAMPAIGN: &str = "repeated-1";

/// How often the leader is killed: each time some coupons are issued and not answered yet, very
/// likely but not certainly.
const KILLS: u64 = 3;

/// How many coupons are issued from one kill to the next.
const BETWEEN_KILLS: u64 = 1_000;

async fn kill_leaders(mutant: Option<&str>) -> Report {
    let mut cluster = Cluster::start_with(mutant, &[]).await;
    let (router, shard) = (cluster.router.clone(), Cluster::shard_of(CAMPAIGN));
    let load = loadtest(
        &router,
        "--closed --concurrency 256 --duration 12s --campaign-prefix repeated --quota 1000000 \
         --per-recipient-limit 0",
    );
    let kills = async {
        let mut issued = 0;
        for _ in 0..KILLS {
            issued = until_issued(&cluster, CAMPAIGN, issued + BETWEEN_KILLS).await;
            let leader = cluster.leader_of(shard).await;
            cluster.kill(leader);
            // Two nodes that go on are not enough for the next kill.
            cluster.restart(leader);
            cluster.whole().await;
        }
    };
    let (report, ()) = tokio::join!(load, kills);
    report
}

#[tokio::test]
async fn a_retry_that_is_not_recognised_repeats_a_coupon() {
    kill_leaders(Some("retry-not-deduplicated")).await.assert_violated("repeats");
}

#[tokio::test]
async fn retries_are_fine() {
    kill_leaders(None).await.assert_ok();
}
