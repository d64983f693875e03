//! Callers ask again with the same request id, since whoever was to answer them was killed.
//!
//! A killed router takes no coupon with it: what it had handed over is issued, and answered to nobody.
//! So its callers are certain to repeat requests that have a coupon. With a killed leader it depends:
//! what it had not sent to a quorum is gone, and then the repetition is the first one.

use crate::issued::until_issued;
use crate::report::{Report, loadtest};
use crate::support::cluster::Cluster;
use crate::support::ports;
use crate::support::process::{Process, coupon};

const CAMPAIGN: &str = "repeated-1";

/// How many coupons are issued before each kill.
const BETWEEN_KILLS: u64 = 1_000;

/// Kills the router that is given load, later the leader, and starts each again.
async fn kill_who_answers(mutant: Option<&str>) -> Report {
    let mut cluster = Cluster::start_with(mutant, &[]).await;
    // A router of its own: the cluster's goes on and tells how far the campaign is.
    let address = format!("127.0.0.1:{}", ports::free());
    let nodes = cluster.addresses().join(",");
    let log = cluster.dir().join("killed-router.log");
    let start_router =
        || Process::start(coupon(&["router", "--listen", &address, "--nodes", &nodes]), &log);
    let mut router = start_router();
    router.address();
    let load = loadtest(
        &address,
        "--closed --concurrency 256 --duration 8s --campaign-prefix repeated --quota 1000000 \
         --per-recipient-limit 0",
    );
    let kills = async {
        let issued = until_issued(&cluster, CAMPAIGN, BETWEEN_KILLS).await;
        router.kill();
        router = start_router();
        until_issued(&cluster, CAMPAIGN, issued + BETWEEN_KILLS).await;
        let leader = cluster.leader_of(Cluster::shard_of(CAMPAIGN)).await;
        cluster.kill(leader);
        cluster.restart(leader);
    };
    let (report, ()) = tokio::join!(load, kills);
    report
}

#[tokio::test]
async fn a_retry_that_is_not_recognised_repeats_a_coupon() {
    kill_who_answers(Some("retry-not-deduplicated")).await.assert_violated("repeats");
}

#[tokio::test]
async fn retries_are_fine() {
    kill_who_answers(None).await.assert_ok();
}
