//! A coupon is held while a customer pays: it is there until the hold expires, and for nobody else.

use coupon_checker::{History, check};
use coupon_client::new_request_id;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use prost_types::Duration;

use crate::support::campaign::{create, issue, reason, request};
use crate::support::cluster::Cluster;
use crate::support::holds::Race;
use crate::support::process::run;
use crate::support::wait::until;

/// 64 clients hold, confirm, release, issue and void; every read of the counters adds up, and nothing is oversold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_small_campaign_that_all_race_for_nothing_is_oversold() {
    let cluster = Cluster::start(&[]).await;
    let race = Race::new(&cluster, "race").await;
    race.run(false).await;
    assert!(race.refused("HOLD_EXPIRED") > 0 && race.refused("QUOTA_HELD") > 0);
    // What was held and forgotten comes back by itself.
    let last = until("all holds to expire", async || {
        let now = race.now().await;
        (now.held == 0).then_some(now)
    });
    let last = last.await;
    assert_eq!(last.issued - last.returned + last.remaining, last.quota);
    let campaigns = vec![race.recorded().await];
    assert!(campaigns[0].balances.len() > 10 && !campaigns[0].holds.is_empty());
    let verdict = check(&History { campaigns, ..History::default() });
    assert!(verdict.is_ok(), "{verdict}");
}

/// The same while the quota changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quota_is_never_less_than_what_is_issued_and_held() {
    let cluster = Cluster::start(&[]).await;
    let race = Race::new(&cluster, "race").await;
    race.run(true).await;
    assert!(race.refused("QUOTA_BELOW_ISSUED") > 0);
    // The checker knows one quota, the greatest there was.
    let verdict = check(&History { campaigns: vec![race.recorded().await], ..History::default() });
    assert!(verdict.is_ok(), "{verdict}");
}

fn hold(campaign_id: &str, recipient: &str, seconds: i64) -> v1::HoldCouponRequest {
    v1::HoldCouponRequest {
        campaign_id: campaign_id.to_owned(),
        recipient: recipient.to_owned(),
        ttl: Some(Duration { seconds, nanos: 0 }),
        request_id: new_request_id(),
    }
}

/// A hold outlives its leader, and the end of its campaign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_there_after_a_crash_and_after_the_end() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 2).await;
    let mut client = CouponServiceClient::new(cluster.connect());
    let (ann, bob) = (hold("spring", "ann", 600), hold("spring", "bob", 600));
    let held = client.hold_coupon(ann.clone()).await.expect("a coupon is left").into_inner();
    client.hold_coupon(bob.clone()).await.expect("a coupon is left");

    let leader = cluster.leader_of(Cluster::shard_of("spring")).await;
    cluster.kill(leader);
    cluster.restart(leader);
    cluster.whole().await;
    let again = client.hold_coupon(ann.clone()).await.expect("it is answered again").into_inner();
    assert!(again.replayed && !held.replayed);
    assert_eq!(again.hold, held.hold);
    let refused = issue(&mut client, request("spring", "eve")).await.expect_err("all is held");
    assert_eq!(reason(&refused), "QUOTA_HELD");

    let mut campaigns = CampaignServiceClient::new(cluster.connect());
    let campaign_id = || "spring".to_owned();
    let end = v1::EndCampaignRequest { campaign_id: campaign_id(), ..Default::default() };
    campaigns.end_campaign(end).await.expect("it can be ended");
    let archive =
        || v1::ArchiveCampaignRequest { campaign_id: campaign_id(), ..Default::default() };
    let refused = campaigns.archive_campaign(archive()).await.expect_err("holds are open");
    assert_eq!(reason(&refused), "HOLDS_OPEN");
    let refused = client.hold_coupon(hold("spring", "kim", 600)).await.expect_err("it has ended");
    assert_eq!(reason(&refused), "ENDED");

    let confirm = v1::ConfirmHoldRequest {
        campaign_id: campaign_id(),
        hold_id: ann.request_id.clone(),
        request_id: new_request_id(),
        ..Default::default()
    };
    let confirmed = client.confirm_hold(confirm.clone()).await.expect("it is open").into_inner();
    let coupon = confirmed.coupon.expect("an answer has a coupon");
    assert_eq!((coupon.recipient.as_str(), &coupon.request_id), ("ann", &ann.request_id));
    assert_eq!(coupon.state(), v1::CouponState::Issued);
    let again = client.confirm_hold(confirm).await.expect("it is answered again").into_inner();
    assert_eq!((again.replayed, again.coupon), (true, Some(coupon)));
    let release = v1::ReleaseHoldRequest {
        campaign_id: campaign_id(),
        hold_id: bob.request_id,
        ..Default::default()
    };
    client.release_hold(release).await.expect("it is open");
    let archived = campaigns.archive_campaign(archive()).await.expect("no hold is open");
    let archived = archived.into_inner().campaign.expect("an answer has a campaign");
    assert_eq!((archived.issued, archived.held, archived.remaining), (1, 0, 1));
}

/// The commands, on one campaign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_hold_confirm_and_release() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 1).await;
    let router = cluster.router.as_str();
    let json = |args: &[&str], code: i32| {
        let output = run(&[args, &["--router", router, "-o", "json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()
    };
    let held = json(&["hold", "spring", "--recipient", "ann", "--ttl", "10m"], 0);
    assert_eq!((&held["state"], &held["replayed"]), (&"OPEN".into(), &false.into()));
    let id = held["hold_id"].as_str().expect("a hold has an id");
    let again = ["hold", "spring", "--recipient", "ann", "--ttl", "10m", "--request-id", id];
    assert_eq!(json(&again, 0)["replayed"], true);
    json(&["issue", "spring", "--recipient", "bob"], 4);
    let shown = json(&["campaign", "get", "spring"], 0);
    assert_eq!((&shown["held"], &shown["remaining"]), (&1.into(), &0.into()));
    assert_eq!(json(&["release-hold", "spring", id], 0)["state"], "RELEASED");
    json(&["confirm-hold", "spring", id], 4);
    let held = json(&["hold", "spring", "--recipient", "bob", "--ttl", "1m"], 0);
    let id = held["hold_id"].as_str().expect("a hold has an id");
    let coupon = json(&["confirm-hold", "spring", id, "--metadata", "order=A-1"], 0);
    assert_eq!(
        (&coupon["recipient"], &coupon["metadata"]["order"]),
        (&"bob".into(), &"A-1".into())
    );
    json(&["hold", "spring", "--recipient", "eve", "--ttl", "2d"], 4);
}
