//! A campaign that is watched, while callers and time change it and its leader dies.

use std::time::{Duration, SystemTime};

use coupon_client::{CampaignWatch, Client, Reason, RetryPolicy, v1};
use tokio::time::timeout;

use crate::support::campaign::{create, request};
use crate::support::cluster::Cluster;
use crate::support::process::{Process, coupon, run};
use crate::support::wait::PATIENCE;

/// The next state that a watch shows.
async fn next(watch: &mut CampaignWatch) -> v1::Campaign {
    let shown = timeout(PATIENCE, watch.next()).await.expect("the campaign has changed");
    shown.expect("the campaign is there")
}

fn in_seconds(seconds: u64) -> Option<prost_types::Timestamp> {
    Some((SystemTime::now() + Duration::from_secs(seconds)).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_shows_what_time_and_callers_change_whoever_leads() {
    let mut cluster = Cluster::start(&[]).await;
    let client = Client::connect([&cluster.router], RetryPolicy::default()).await.expect("connect");
    let created = v1::CreateCampaignRequest {
        campaign_id: "spring".to_owned(),
        quota: 10,
        start_time: in_seconds(5),
        ..Default::default()
    };
    client.create_campaign(created).await.expect("it is created");
    let watched =
        || v1::WatchCampaignRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    let mut watch = client.watch_campaign(watched());
    let scheduled = next(&mut watch).await;
    assert_eq!(scheduled.state(), v1::CampaignState::Scheduled);
    let active = next(&mut watch).await;
    assert_eq!((active.state(), active.revision), (v1::CampaignState::Active, scheduled.revision));
    client.issue_coupon(request("spring", "ann")).await.expect("it has started");
    assert_eq!(next(&mut watch).await.issued, 1);

    let leader = cluster.leader_of(Cluster::shard_of("spring")).await;
    cluster.kill(leader);
    client.issue_coupon(request("spring", "bob")).await.expect("another replica leads");
    assert_eq!(next(&mut watch).await.issued, 2);
    // A watch that begins shows everything that was answered before.
    for issued in 3..=5 {
        client.issue_coupon(request("spring", "cat")).await.expect("coupons are left");
        assert_eq!(next(&mut client.watch_campaign(watched())).await.issued, issued);
    }
    cluster.restart(leader);

    let ending = v1::UpdateCampaignRequest {
        campaign: Some(v1::Campaign {
            campaign_id: "spring".to_owned(),
            end_time: in_seconds(5),
            ..Default::default()
        }),
        ..Default::default()
    };
    client.update_campaign(ending).await.expect("it is in the future");
    let mut last = next(&mut watch).await;
    while last.end_time.is_none() {
        last = next(&mut watch).await;
    }
    let ended = next(&mut watch).await;
    assert_eq!((ended.state(), ended.revision), (v1::CampaignState::Ended, last.revision));

    let campaign_id = || "spring".to_owned();
    let archive = v1::ArchiveCampaignRequest { campaign_id: campaign_id(), ..Default::default() };
    client.archive_campaign(archive).await.expect("it has ended");
    assert_eq!(next(&mut watch).await.state(), v1::CampaignState::Archived);
    let delete = v1::DeleteCampaignRequest { campaign_id: campaign_id(), ..Default::default() };
    client.delete_campaign(delete).await.expect("it is archived");
    let gone = timeout(PATIENCE, watch.next()).await.expect("the watch ends");
    assert_eq!(gone.expect_err("it is deleted").reason(), Some(Reason::CampaignNotFound));
}

/// A hold that expires gives its quota back without a revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_shows_that_a_hold_has_expired() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 1).await;
    let client = Client::connect([&cluster.router], RetryPolicy::default()).await.expect("connect");
    let watched =
        v1::WatchCampaignRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    let mut watch = client.watch_campaign(watched.clone());
    assert_eq!(next(&mut watch).await.held, 0);
    let hold = v1::HoldCouponRequest {
        campaign_id: "spring".to_owned(),
        recipient: "ann".to_owned(),
        ttl: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        ..Default::default()
    };
    client.hold_coupon(hold).await.expect("a coupon is left");
    let held = next(&mut watch).await;
    assert_eq!((held.held, held.state()), (1, v1::CampaignState::Exhausted));
    let expired = next(&mut watch).await;
    assert_eq!((expired.held, expired.state()), (0, v1::CampaignState::Active));
    assert_eq!(expired.revision, held.revision);
    // Who knows the revision and the state does not know what was held.
    let resumed = v1::WatchCampaignRequest {
        after_revision: expired.revision,
        after_state: expired.state,
        ..watched
    };
    assert_eq!(next(&mut client.watch_campaign(resumed)).await, expired);
}

/// The command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_prints_each_change() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 1).await;
    let router = cluster.router.as_str();
    let watch = |format: &str, log: &str| {
        let command = coupon(&["watch", "spring", "--router", router, "-o", format]);
        Process::start(command, &cluster.dir().join(log))
    };
    let (mut lines, mut json) = (watch("table", "lines.log"), watch("json", "json.log"));
    lines.read_until("revision 1: ACTIVE, 0 of 1 issued, 0 held, 1 left, 0 redeemed, 0 voided");
    json.read_until("\"issued\":0");
    assert!(run(&["issue", "spring", "--recipient", "ann", "--router", router]).status.success());
    lines.read_until("revision 2: EXHAUSTED, 1 of 1 issued, 0 held, 0 left");
    json.read_until("\"issued\":1");
    let none = run(&["watch", "nothing", "--router", router]);
    assert_eq!(none.status.code(), Some(4), "a refusal");
    assert!(String::from_utf8_lossy(&none.stderr).contains("CAMPAIGN_NOT_FOUND"));
}
