//! Replicas that look at the clock themselves hold different things.

use std::fs::File;
use std::io::Write as _;

use crate::report::{Report, loadtest, run};
use crate::support::cluster::Cluster;
use crate::support::status::Status;

/// Compares what the replicas hold after some load: what they say of themselves is added to the
/// recording, and that is judged.
async fn compare_replicas(mutant: Option<&str>) -> Report {
    let cluster = Cluster::start_with(mutant, &[]).await;
    let history = cluster.dir().join("history.jsonl");
    let history_arg = history.display().to_string();
    let load = "--rate 500 --duration 2s --campaigns 4";
    loadtest(&cluster.router, &format!("{load} --history {history_arg}")).await;
    let status = cluster.status("the replicas to be level", true, is_level).await;
    let mut file = File::options().append(true).open(&history).expect("the history was written");
    for shard in &status.shards {
        for replica in &shard.replicas {
            let line = serde_json::json!({ "replica": {
                "shard": shard.shard_id,
                "replica": replica.replica_id,
                "applied_index": replica.applied_index,
                "digest": replica.digest,
            }});
            writeln!(file, "{line}").expect("add to the history");
        }
    }
    drop(file);
    run(&format!("check {history_arg}")).await
}

/// Whether all replicas of a shard have applied the same entries.
fn is_level(status: &Status) -> bool {
    status.shards.iter().all(|shard| {
        let first = shard.replicas[0].applied_index;
        let mut replicas = shard.replicas.iter();
        replicas.all(|replica| replica.digest.is_some() && replica.applied_index == first)
    })
}

#[tokio::test]
async fn a_clock_read_at_apply_makes_replicas_differ() {
    compare_replicas(Some("clock-read-at-apply")).await.assert_violated("replicas");
}

#[tokio::test]
async fn replicas_are_equal() {
    compare_replicas(None).await.assert_ok();
}
