//! Callers that wait no longer than an answer usually takes, and ask again with the same request id.
//!
//! Thousands of their coupons are issued when nobody listens any more. That is what brings a missing
//! deduplication to light; the leader is killed besides, so that requests are also repeated to its
//! successor. Kills alone are not enough: all that is under way travels in one or two log entries, so
//! each is one throw of a coin, which showed nothing in one run of seven.

use crate::issued::until_issued;
use crate::report::{Report, loadtest};
use crate::support::cluster::Cluster;

const CAMPAIGN: &str = "repeated-1";

/// How many coupons are issued before the leader is killed.
const BEFORE_KILL: u64 = 2_000;

async fn ask_impatiently(mutant: Option<&str>) -> Report {
    let mut cluster = Cluster::start_with(mutant, &[]).await;
    let router = cluster.router.clone();
    let load = loadtest(
        &router,
        "--closed --concurrency 256 --timeout 25ms --duration 6s --campaign-prefix repeated \
         --quota 1000000 --per-recipient-limit 0",
    );
    let kill = async {
        until_issued(&cluster, CAMPAIGN, BEFORE_KILL).await;
        let leader = cluster.leader_of(Cluster::shard_of(CAMPAIGN)).await;
        cluster.kill(leader);
        cluster.restart(leader);
    };
    let (report, ()) = tokio::join!(load, kill);
    report
}

#[tokio::test]
async fn a_retry_that_is_not_recognised_repeats_a_coupon() {
    ask_impatiently(Some("retry-not-deduplicated")).await.assert_violated("repeats");
}

#[tokio::test]
async fn retries_are_fine() {
    ask_impatiently(None).await.assert_ok();
}
