//! Replicas that look at the clock themselves hold different things.

use std::fs::File;
use std::io::Write as _;

use coupon_admin::ClusterStatus;
use coupon_proto::v1::CreateCampaignRequest;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;

use crate::report::{loadtest, run};
use crate::support::cluster::Cluster;

#[tokio::test]
async fn a_replica_that_reads_the_clock_at_apply_stops() {
    let cluster = Cluster::start_with(Some("clock-read-at-apply"), &[]).await;
    // The first entries have made the replicas differ; the next one tells them what the leader holds.
    let mut client = CampaignServiceClient::new(cluster.connect());
    let campaign_id = "differ".to_owned();
    let request = CreateCampaignRequest { campaign_id, quota: 1, ..Default::default() };
    // Whether there is still a leader to answer it does not matter.
    let _ = client.create_campaign(request).await;
    let stopped = |status: &ClusterStatus| {
        status.shards.iter().any(|shard| shard.replicas.iter().any(|one| one.state == "diverged"))
    };
    cluster.status("a shard to stop", false, stopped).await;
    let said = |node| cluster.log_of(node).contains("holds something else than replica");
    assert!((1..=3).any(said), "no node says why");
}

/// What the replicas hold after some load, as they say themselves, is added to the recording, and that is
/// judged.
#[tokio::test]
async fn replicas_are_equal() {
    let cluster = Cluster::start(&[]).await;
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
    run(&format!("check {history_arg}")).await.assert_ok();
}

/// Whether all replicas of a shard have applied the same entries.
fn is_level(status: &ClusterStatus) -> bool {
    status.shards.iter().all(|shard| {
        let first = shard.replicas[0].applied_index;
        let mut replicas = shard.replicas.iter();
        replicas.all(|replica| replica.digest.is_some() && replica.applied_index == first)
    })
}
