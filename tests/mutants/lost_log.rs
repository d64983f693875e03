//! All nodes are killed at once. A log is handed to the operating system only when it is synced, so
//! that what was not synced is gone, as with a power cut.

use crate::issued::until_issued;
use crate::report::{Report, loadtest};
use crate::support::cluster::Cluster;

const CAMPAIGN: &str = "crash-1";

/// How many coupons are issued before the crash. At this load each is an entry of its own, so that the
/// log is half-way from one sync of the mutant to the next: every 256th entry.
const BEFORE_CRASH: u64 = 896;

async fn kill_all(mutant: Option<&str>) -> Report {
    let mut cluster = Cluster::start_with(mutant, &[]).await;
    let router = cluster.router.clone();
    let load = loadtest(&router, "--rate 500 --duration 8s --campaign-prefix crash");
    let crash = async {
        until_issued(&cluster, CAMPAIGN, BEFORE_CRASH).await;
        cluster.kill_all();
        for node in 1..=3 {
            cluster.restart(node);
        }
    };
    let (report, ()) = tokio::join!(load, crash);
    report
}

#[tokio::test]
async fn what_was_acknowledged_before_it_was_synced_is_lost() {
    kill_all(Some("acknowledged-before-sync")).await.assert_violated("lost");
}

#[tokio::test]
async fn a_crash_of_all_nodes_is_fine() {
    kill_all(None).await.assert_ok();
}
