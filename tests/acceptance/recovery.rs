//! An operator decides which history a cluster goes on with, where no program can.

use std::collections::BTreeSet;
use std::path::Path;

use coupon_admin::ClusterStatus;
use coupon_checker::check;
use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use serde_json::Value;
use tonic::Status;

use crate::support::campaign::{create, read_back, reason};
use crate::support::cluster::Cluster;
use crate::support::load::{Answers, Load};
use crate::support::process::run;
use crate::support::store::{copy, cut_wal};
use crate::support::wait::until;

/// The quota of a campaign: more than any test issues.
const QUOTA: u32 = 1_000_000;

/// The log line of a node whose store has lost acknowledged writes.
const LOST: &str = "has lost ";

/// Issues `coupons`, all of which must be answered.
async fn issue(cluster: &Cluster, campaign_id: &str, coupons: usize) -> Answers {
    let load = Load::start(cluster, campaign_id, 4);
    load.grant(coupons);
    load.finish().await
}

fn codes(answers: &Answers) -> BTreeSet<String> {
    answers.acknowledged.iter().map(|coupon| coupon.code.to_string()).collect()
}

/// Runs `coupon recover`, and returns its output and the lines of its report.
fn recover(cluster: &Cluster, nodes: &[u64], more: &[&str]) -> (String, Vec<Value>) {
    let report = cluster.dir().join(format!("report-{}.jsonl", more.len()));
    let mut args = vec!["recover".to_owned(), "--report".to_owned(), text(&report)];
    for node in nodes {
        args.extend(["--data".to_owned(), text(cluster.data_of(*node))]);
    }
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = run(&args);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    let lines = std::fs::read_to_string(&report).expect("read the report");
    (said, lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// The first part of a stream of coupons.
async fn first_part(
    cluster: &Cluster,
    campaign_id: &str,
    resume_token: &str,
) -> Result<v1::StreamCouponsResponse, Status> {
    let mut client = CouponServiceClient::new(cluster.connect());
    let (campaign_id, resume_token) = (campaign_id.to_owned(), resume_token.to_owned());
    let request = v1::StreamCouponsRequest { campaign_id, resume_token };
    let part = client.stream_coupons(request).await?.into_inner().message().await?;
    Ok(part.expect("a stream has a part"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_histories_the_one_that_is_kept_goes_on() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "chosen", QUOTA.into()).await;
    let load = Load::start(&cluster, "chosen", 4);
    load.grant(50);
    load.progress(50).await;
    cluster.whole().await;
    let older = cluster.dir().join("older");
    copy(cluster.data_of(1), &older);
    cluster.kill(3);
    load.grant(300);
    let kept = load.finish().await;
    for node in [1, 2] {
        cluster.stop(node).await;
    }
    cluster.wipe(1);
    std::fs::rename(&older, cluster.data_of(1)).expect("bring the older copy back");
    cluster.restart(1);
    cluster.restart(3);
    let given_up = issue(&cluster, "chosen", 40).await;
    assert!(!codes(&kept).is_disjoint(&codes(&given_up)), "they have the same codes");
    cluster.restart(2);
    let shard = Cluster::shard_of("chosen");
    // Node 1 may be told that it forgot before it notices two histories; then its store is lost.
    let stopped = |status: &ClusterStatus| {
        status.shard(shard).unwrap().replicas.iter().all(|replica| {
            let lost = replica.node_id == 1 && cluster.log_of(1).contains(LOST);
            replica.state == "diverged" || lost
        })
    };
    cluster.status("the shard to stop", false, stopped).await;
    cluster.kill_all();

    let (said, lines) = recover(&cluster, &[1, 2, 3], &[]);
    assert!(said.contains("diverged at"), "{said}");
    let lost_by = |node: u64| {
        let dir = text(cluster.data_of(node));
        let lines = lines.iter().filter(|line| line["keeping"] == dir);
        lines.filter_map(|line| Some(line["code"].as_str()?.to_owned())).collect::<BTreeSet<_>>()
    };
    let (lost, answered) = (lost_by(2), codes(&given_up));
    let others: Vec<&String> = lost.difference(&answered).collect();
    assert!(others.is_empty(), "keeping node 2 loses {} of {}: {said}", others.len(), lost.len());
    assert!(lost_by(1).len() >= 300 - 40, "keeping node 1 loses the longer one");

    let dir = text(cluster.data_of(2));
    recover(&cluster, &[1, 2, 3], &["--keep", &dir]);
    for node in [2, 1, 3] {
        cluster.restart(node);
    }
    cluster.whole().await;
    let verdict = check(&kept.with(read_back(&cluster, "chosen", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
    let fresh = codes(&issue(&cluster, "chosen", 100).await);
    assert!(fresh.is_disjoint(&codes(&kept)) && fresh.is_disjoint(&codes(&given_up)));
    cluster.status("equal digests", true, ClusterStatus::is_equal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_goes_on_when_the_others_are_gone_for_good() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "alone", QUOTA.into()).await;
    // More than one part of a stream.
    let answers = issue(&cluster, "alone", 600).await;
    cluster.whole().await;
    let first = first_part(&cluster, "alone", "").await.expect("it can be read");
    let token = first.resume_token;
    first_part(&cluster, "alone", &token).await.expect("it can be resumed");
    cluster.kill_all();
    let dir = text(cluster.data_of(1));
    recover(&cluster, &[1], &["--gone", "2,3", "--keep", &dir]);
    cluster.wipe(2);
    cluster.wipe(3);
    (1..=3).for_each(|node| cluster.restart(node));
    cluster.whole().await;
    let verdict = check(&answers.with(read_back(&cluster, "alone", QUOTA.into()).await));
    assert!(verdict.is_ok(), "{verdict}");
    let gone = first_part(&cluster, "alone", &token).await.expect_err("it was of another history");
    assert_eq!(reason(&gone), "REVISION_GONE");
    let fresh = codes(&issue(&cluster, "alone", 50).await);
    assert!(fresh.is_disjoint(&codes(&answers)));
    cluster.status("equal digests", true, ClusterStatus::is_equal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_stores_are_all_short_goes_on_with_the_one_that_is_kept() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "short", QUOTA.into()).await;
    let answers = issue(&cluster, "short", 200).await;
    cluster.whole().await;
    cluster.kill_all();
    for node in 1..=3 {
        cut_wal(cluster.data_of(node), 8 << 10);
        cluster.restart(node);
    }
    until("all of them to say so", async || {
        (1..=3).all(|node| cluster.log_of(node).contains(LOST)).then_some(())
    })
    .await;
    cluster.kill_all();
    let dir = text(cluster.data_of(1));
    let (said, _) = recover(&cluster, &[1, 2, 3], &["--keep", &dir]);
    assert!(said.contains("has lost acknowledged writes"), "{said}");
    (1..=3).for_each(|node| cluster.restart(node));
    cluster.whole().await;
    let fresh = codes(&issue(&cluster, "short", 50).await);
    assert!(fresh.is_disjoint(&codes(&answers)), "what was lost is not given again");
    cluster.status("equal digests", true, ClusterStatus::is_equal).await;
}
