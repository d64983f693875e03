//! All nodes are killed at once. A log is handed to the operating system only when it is synced, so
//! that what was not synced is gone, as with a power cut.

use std::ops::RangeInclusive;

use coupon_node::mutants::ENTRIES_PER_SYNC;

use crate::report::{Report, loadtest};
use crate::support::cluster::Cluster;
use crate::support::status::Status;

const CAMPAIGN: &str = "crash-1";

/// How many entries after a sync of the mutant the crash comes: some, which are acknowledged and lost,
/// and long before the next sync, however late the crash is.
const ENTRIES_UNSYNCED: RangeInclusive<u64> = ENTRIES_PER_SYNC / 8..=ENTRIES_PER_SYNC / 2;

/// Whether a replica of the campaign's shard is as far as that.
fn is_between_syncs(status: &Status) -> bool {
    let replicas = &status.shard(Cluster::shard_of(CAMPAIGN)).replicas;
    let applied = replicas.iter().filter_map(|replica| replica.applied_index).max();
    applied.is_some_and(|index| ENTRIES_UNSYNCED.contains(&(index % ENTRIES_PER_SYNC)))
}

async fn kill_all(mutant: Option<&str>) -> Report {
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
