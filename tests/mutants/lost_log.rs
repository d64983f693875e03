//! All nodes are killed at once. A log is handed to the operating system only when it is synced, so
//! that what was not synced is gone, as with a power cut.

use std::ops::RangeInclusive;

use coupon_admin::ClusterStatus;
use coupon_node::mutants::ENTRIES_PER_SYNC;

use crate::report::{Report, loadtest};
use crate::support::cluster::Cluster;

const CAMPAIGN: &str = "crash-1";

/// How many entries after a sync of the mutant the crash comes: some, which are acknowledged and lost,
/// and long before the next sync, however late the crash is.
const ENTRIES_UNSYNCED: RangeInclusive<u64> = ENTRIES_PER_SYNC / 8..=ENTRIES_PER_SYNC / 2;

/// The log line of a node that another node reminds of what it acknowledged.
const NOTICED: &str = "has lost entries that it acknowledged";

/// Whether a replica of the campaign's shard is as far as that.
fn is_between_syncs(status: &ClusterStatus) -> bool {
    let replicas =
        &status.shard(Cluster::shard_of(CAMPAIGN)).expect("the shard is in the map").replicas;
    let applied = replicas.iter().filter_map(|replica| replica.applied_index).max();
    applied.is_some_and(|index| ENTRIES_UNSYNCED.contains(&(index % ENTRIES_PER_SYNC)))
}

/// The verdict of the load test, and whether a node reports that it has lost what it acknowledged.
async fn kill_all(mutant: Option<&str>) -> (Report, bool) {
    let mut cluster = Cluster::start_with(mutant, &[]).await;
    let router = cluster.router.clone();
    // So slow that the moment between two syncs lasts for several looks.
    let load = loadtest(&router, "--rate 200 --duration 8s --campaign-prefix crash");
    let crash = async {
        cluster.status("the moment for a crash", false, is_between_syncs).await;
        cluster.kill_all();
        for node in 1..=3 {
            cluster.restart(node);
        }
    };
    let (report, ()) = tokio::join!(load, crash);
    let noticed = (1..=3).any(|node| cluster.log_of(node).contains(NOTICED));
    (report, noticed)
}

#[tokio::test]
async fn what_was_acknowledged_before_it_was_synced_is_lost() {
    let (report, noticed) = kill_all(Some("acknowledged-before-sync")).await;
    // If one node has kept more than another, it reminds that one of what it acknowledged.
    if !noticed {
        report.assert_violated("lost");
    }
}

#[tokio::test]
async fn a_crash_of_all_nodes_is_fine() {
    let (report, noticed) = kill_all(None).await;
    report.assert_ok();
    assert!(!noticed);
}
