//! A backup is taken under load, and restored into another cluster.

use std::collections::HashSet;
use std::path::Path;
use std::process::Output;

use coupon_admin::ClusterStatus;
use coupon_checker::Coupon;
use coupon_cluster::ReplicaRole;
use coupon_proto::v1::IssueCouponRequest;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::support::campaign::{create, issue, read_back, reason, recorded, request};
use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::process::{coupon, run};
use crate::support::status;

/// The quota of a campaign: more than any test issues.
const QUOTA: u32 = 1_000_000;
/// Number of coupons issued before the backup begins.
const EARLY: usize = 1_500;
/// Quota of a campaign that is sold out before the backup.
const SMALL: usize = 20;
/// Number of coupons issued after the restore.
const NEW: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_has_what_was_acknowledged_and_gives_no_code_twice() {
    let mut old = Cluster::start(&[]).await;
    for (campaign, quota) in [("early", QUOTA as usize), ("late", QUOTA as usize), ("small", SMALL)]
    {
        create(&old, campaign, i64::try_from(quota).expect("it is small")).await;
    }
    let early = issued(&old, "early", EARLY).await;
    let small = issued(&old, "small", SMALL).await;
    let load = Load::start(&old, "late", 8);
    load.grant(QUOTA as usize);
    load.progress(300).await;

    let backup = old.dir().join("backup");
    let before = load.acknowledged();
    let nodes = old.addresses().join(",");
    let taken = run_beside(&["backup", "--node", &nodes, "--to", text(&backup)]).await;
    succeeded(&taken);
    // These coupons are lost, but people hold their codes.
    load.progress(1_000).await;
    let late = load.stop().await.acknowledged;
    old.kill_all();
    succeeded(&run(&["backup", "verify", text(&backup)]));

    let mut new = Cluster::restored(&backup).await;
    assert_eq!(new.whole().await.epoch, 2);
    for (campaign, acknowledged) in [("early", &early), ("small", &small)] {
        let rows = read_back(&new, campaign, QUOTA.into()).await.rows;
        assert_eq!(sorted(&rows), sorted(acknowledged), "{campaign}");
    }
    let kept = read_back(&new, "late", QUOTA.into()).await.rows;
    assert!(kept.len() as u64 >= before, "{} of {before}", kept.len());
    let kept_codes: HashSet<&str> = kept.iter().map(|row| &*row.code).collect();
    let lost: Vec<&Coupon> = late.iter().filter(|row| !kept_codes.contains(&*row.code)).collect();
    assert!(lost.len() >= 1_000, "{} coupons were issued after the backup", lost.len());

    let mut client = CouponServiceClient::new(new.connect());
    for coupon in early.iter().step_by(EARLY / 50) {
        let answer = ask(&mut client, &again("early", coupon)).await;
        assert_eq!(answer, (coupon.clone(), true));
    }
    let held = request("early", &early[0].recipient);
    let refused = issue(&mut client, held).await.expect_err("the recipient holds one");
    assert_eq!(reason(&refused), "RECIPIENT_LIMIT_REACHED");
    let refused =
        issue(&mut client, request("small", "one-more")).await.expect_err("it is sold out");
    assert_eq!(reason(&refused), "SOLD_OUT");

    let mut codes: HashSet<Box<str>> =
        early.iter().chain(&small).chain(&late).chain(&kept).map(|row| row.code.clone()).collect();
    let mut asked: Vec<IssueCouponRequest> = Vec::new();
    for (number, campaign) in (0..NEW).zip(["early", "late"].into_iter().cycle()) {
        asked.push(request(campaign, &format!("new-{number}")));
    }
    // People whose coupon was lost ask once more, with the same request.
    asked.extend(lost.iter().take(NEW).map(|coupon| again("late", coupon)));
    for request in &asked {
        let (coupon, replayed) = ask(&mut client, request).await;
        assert!(!replayed && codes.insert(coupon.code), "{}: given twice", request.request_id);
    }

    // It is a cluster like any other: it outlives a crash, and a lost disk is rebuilt.
    new.status("replicas to be equal", true, ClusterStatus::is_equal).await;
    new.kill_all();
    new.wipe(2);
    for node in 1..=3 {
        new.restart(node);
    }
    new.status("the lost replicas to be rebuilt", true, |status| {
        status::is_whole(status)
            && status.is_equal()
            && status.shards.iter().all(|shard| {
                shard.replicas.len() == 3
                    && shard.on(2).all(|replica| replica.role == ReplicaRole::Voter)
            })
    })
    .await;
    let rows = read_back(&new, "early", QUOTA.into()).await.rows;
    assert_eq!(rows.len(), EARLY + NEW / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_backup_or_no_empty_node_is_refused() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "any", 10).await;
    issued(&cluster, "any", 10).await;
    let nodes = cluster.addresses().join(",");
    let backup = cluster.dir().join("backup");
    let take = ["backup", "--node", &nodes, "--to", text(&backup)];
    let verify = ["backup", "verify", text(&backup)];
    let restore = ["restore", "--from", text(&backup), "--nodes", &nodes];
    succeeded(&run(&take));
    succeeded(&run(&verify));
    refused(&run(&take), 2, "is not empty");
    refused(&run(&restore), 1, "belongs to cluster");

    for name in ["shard-0001.snapshot", "shard-map.pb", "manifest.json"] {
        let path = backup.join(name);
        let good = std::fs::read(&path).expect("it is in the backup");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 4;
        std::fs::write(&path, bad).expect("damage it");
        refused(&run(&verify), 1, "is damaged");
        refused(&run(&restore), 1, "is damaged");
        std::fs::write(&path, good).expect("mend it");
    }
    succeeded(&run(&verify));
    std::fs::remove_file(backup.join("manifest.json")).expect("it was there");
    refused(&run(&verify), 1, "is no whole backup");
    refused(&run(&restore), 1, "is no whole backup");
}

/// Issues coupons and returns them once all are answered.
async fn issued(cluster: &Cluster, campaign: &str, count: usize) -> Vec<Coupon> {
    let load = Load::start(cluster, campaign, 8);
    load.grant(count);
    load.finish().await.acknowledged
}

/// The request that got a coupon.
fn again(campaign: &str, coupon: &Coupon) -> IssueCouponRequest {
    let request_id = Uuid::from_u128(coupon.request_id).to_string();
    IssueCouponRequest { request_id, ..request(campaign, &coupon.recipient) }
}

/// The coupon that a request gets, and whether it had it before.
async fn ask(
    client: &mut CouponServiceClient<Channel>,
    request: &IssueCouponRequest,
) -> (Coupon, bool) {
    let answer = issue(client, request.clone()).await.expect("a coupon");
    (recorded(answer.coupon.expect("an answer has a coupon")), answer.replayed)
}

fn sorted(coupons: &[Coupon]) -> Vec<Coupon> {
    let mut sorted = coupons.to_vec();
    sorted.sort_unstable_by_key(|coupon| coupon.sequence);
    sorted
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

/// Runs the program to its end while the test goes on.
async fn run_beside(args: &[&str]) -> Output {
    let mut command = coupon(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("it does not panic").expect("the program was just built")
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(output: &Output, code: i32, said: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(said), "{error}");
}
