//! What happened to a campaign is told completely: through changes of leaders, restarts of all nodes, and a restore.

use std::collections::BTreeMap;

use coupon_client::v1::EventType;
use coupon_client::{Client, EventStream, Reason, RetryPolicy, new_request_id, v1};
use tokio::time::timeout;

use crate::support::campaign::{create, request};
use crate::support::cluster::Cluster;
use crate::support::process::{Process, coupon, run};
use crate::support::wait::{PATIENCE, until};

fn spring() -> String {
    "spring".to_owned()
}

async fn connect(cluster: &Cluster) -> Client {
    Client::connect([&cluster.router], RetryPolicy::default()).await.expect("connect")
}

/// All events of a campaign, in pages of a size.
async fn listed(client: &Client, page_size: i32) -> Vec<v1::Event> {
    let mut request =
        v1::ListEventsRequest { campaign_id: "spring".to_owned(), page_size, ..Default::default() };
    let mut events: Vec<v1::Event> = Vec::new();
    loop {
        let page = client.list_events(request.clone()).await.expect("the campaign is there");
        let last = page.events.last().expect("there are events up to its revision");
        (request.after_revision, request.history_id) = (last.revision, last.history_id);
        events.extend(page.events);
        if request.after_revision == page.revision {
            return events;
        }
    }
}

/// Follows events until one has a revision.
async fn followed(stream: &mut EventStream, revision: i64) -> Vec<v1::Event> {
    let mut events: Vec<v1::Event> = Vec::new();
    while events.last().is_none_or(|last| last.revision < revision) {
        let next = timeout(PATIENCE, stream.next()).await.expect("there are events");
        events.extend(next.expect("the campaign is there"));
    }
    events
}

fn revisions(events: &[v1::Event]) -> Vec<i64> {
    events.iter().map(|event| event.revision).collect()
}

fn types(events: &[v1::Event]) -> Vec<EventType> {
    events.iter().map(v1::Event::r#type).collect()
}

async fn issue(client: &Client, recipient: &str) -> v1::Coupon {
    let answer = client.issue_coupon(request("spring", recipient)).await;
    answer.expect("a coupon is left").coupon.expect("an answer has a coupon")
}

/// What becomes of a campaign in the test below, up to revision 7. Returns its first coupon as it was issued, and as it
/// was redeemed, and its second coupon.
async fn begun(client: &Client) -> (v1::Coupon, v1::Coupon, v1::Coupon) {
    let ann = issue(client, "ann").await;
    let redeem = v1::RedeemCouponRequest {
        code: ann.code.clone(),
        order_ref: "A-1".to_owned(),
        ..Default::default()
    };
    let redeemed = client.redeem_coupon(redeem).await.expect("it can be").coupon.expect("a coupon");
    let pause = v1::PauseCampaignRequest { campaign_id: spring(), ..Default::default() };
    client.pause_campaign(pause).await.expect("it is active");
    let update = v1::UpdateCampaignRequest {
        campaign: Some(v1::Campaign {
            campaign_id: spring(),
            quota: 20,
            labels: BTreeMap::from([("team".to_owned(), "growth".to_owned())]),
            ..Default::default()
        }),
        ..Default::default()
    };
    client.update_campaign(update).await.expect("it can be changed");
    let resume = v1::ResumeCampaignRequest { campaign_id: spring(), ..Default::default() };
    client.resume_campaign(resume.clone()).await.expect("it is paused");
    // What changes nothing makes no revision.
    client.resume_campaign(resume).await.expect("it is active");
    (ann, redeemed, issue(client, "bob").await)
}

/// What becomes of it up to revision 10.
async fn continued(client: &Client, ann: &v1::Coupon, bob: &v1::Coupon) {
    let reverse = v1::ReverseRedemptionRequest { code: ann.code.clone(), ..Default::default() };
    client.reverse_redemption(reverse).await.expect("another replica leads");
    issue(client, "cat").await;
    let void = v1::VoidCouponRequest {
        code: bob.code.clone(),
        reason: "a test".to_owned(),
        return_quota: true,
        ..Default::default()
    };
    client.void_coupon(void).await.expect("it is not used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_revision_is_one_event_whatever_happens_to_the_nodes() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 10).await;
    let client = connect(&cluster).await;
    let request = v1::StreamEventsRequest { campaign_id: spring(), ..Default::default() };
    let mut stream = client.stream_events(request);
    let (ann, redeemed, bob) = begun(&client).await;
    let mut seen = followed(&mut stream, 7).await;

    let leader = cluster.leader_of(Cluster::shard_of("spring")).await;
    cluster.kill(leader);
    continued(&client, &ann, &bob).await;
    seen.extend(followed(&mut stream, 10).await);
    cluster.restart(leader);
    cluster.whole().await;
    cluster.kill_all();
    (1..=3).for_each(|node| cluster.restart(node));
    cluster.whole().await;
    let end = v1::EndCampaignRequest { campaign_id: spring(), ..Default::default() };
    client.end_campaign(end).await.expect("it has not ended");
    seen.extend(followed(&mut stream, 11).await);

    assert_eq!(revisions(&seen), (1..=11).collect::<Vec<_>>());
    let expected = [
        EventType::CampaignCreated,
        EventType::CouponIssued,
        EventType::CouponRedeemed,
        EventType::CampaignPaused,
        EventType::CampaignUpdated,
        EventType::CampaignResumed,
        EventType::CouponIssued,
        EventType::RedemptionReversed,
        EventType::CouponIssued,
        EventType::CouponVoided,
        EventType::CampaignEnded,
    ];
    assert_eq!(types(&seen), expected);
    let coupon_of = |place: usize| seen[place].coupon.as_ref().expect("it is about a coupon");
    assert_eq!([coupon_of(1), coupon_of(2), coupon_of(6)], [&ann, &redeemed, &bob]);
    assert_eq!(seen[2].time, redeemed.redeem_time);
    let terms = seen[4].terms.as_ref().expect("an update has terms");
    assert_eq!((terms.quota, terms.labels.len()), (20, 1));
    let (reversed, voided) = (coupon_of(7), coupon_of(9));
    assert_eq!((reversed.state(), &reversed.code), (v1::CouponState::Issued, &ann.code));
    assert_eq!((voided.state(), voided.void_reason.as_str()), (v1::CouponState::Voided, "a test"));
    let positions = seen.iter().map(|event| event.log_position.expect("it has one").index);
    assert!(positions.clone().is_sorted() && positions.min() > Some(0));
    assert!(seen.iter().all(|event| !event.request_id.is_empty()));
    // Pages of any size show the same.
    for page_size in [1, 2, 3, 1_000] {
        assert_eq!(listed(&client, page_size).await, seen);
    }

    let archive = v1::ArchiveCampaignRequest { campaign_id: spring(), ..Default::default() };
    client.archive_campaign(archive).await.expect("it has ended");
    assert_eq!(types(&followed(&mut stream, 12).await), [EventType::CampaignArchived]);
    let delete = v1::DeleteCampaignRequest { campaign_id: spring(), ..Default::default() };
    client.delete_campaign(delete).await.expect("it is archived");
    let gone = timeout(PATIENCE, stream.next()).await.expect("the stream ends");
    assert_eq!(gone.expect_err("it is deleted").reason(), Some(Reason::CampaignNotFound));
}

/// A confirmed hold is the issue of its coupon, by the request that confirmed it. That a hold expires is no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_holds_is_told() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 10).await;
    let client = connect(&cluster).await;
    let hold = async |recipient: &str, seconds| {
        let request = v1::HoldCouponRequest {
            campaign_id: spring(),
            recipient: recipient.to_owned(),
            ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..Default::default()
        };
        client.hold_coupon(request).await.expect("coupons are left").hold.expect("it has a hold")
    };
    let ann = hold("ann", 600).await;
    let confirm = v1::ConfirmHoldRequest {
        campaign_id: spring(),
        hold_id: ann.hold_id.clone(),
        request_id: new_request_id(),
        ..Default::default()
    };
    let confirmed = client.confirm_hold(confirm.clone()).await.expect("it is open").coupon;
    let bob = hold("bob", 600).await;
    let release = v1::ReleaseHoldRequest {
        campaign_id: spring(),
        hold_id: bob.hold_id.clone(),
        request_id: new_request_id(),
    };
    client.release_hold(release.clone()).await.expect("it is open");
    let cat = hold("cat", 1).await;
    until("a hold to expire", async || {
        let get = v1::GetCampaignRequest { campaign_id: spring() };
        let campaign = client.get_campaign(get).await.expect("it is there").campaign;
        (campaign.expect("an answer has a campaign").held == 0).then_some(())
    })
    .await;
    issue(&client, "dan").await;

    let seen = listed(&client, 1_000).await;
    let expected = [
        EventType::CampaignCreated,
        EventType::HoldCreated,
        EventType::CouponIssued,
        EventType::HoldCreated,
        EventType::HoldReleased,
        EventType::HoldCreated,
        EventType::CouponIssued,
    ];
    assert_eq!((types(&seen), revisions(&seen)), (expected.to_vec(), (1..=7).collect()));
    assert_eq!([&seen[1].hold, &seen[3].hold, &seen[5].hold], [&Some(ann), &Some(bob), &Some(cat)]);
    assert_eq!((&seen[2].coupon, &seen[2].request_id), (&confirmed, &confirm.request_id));
    let held = seen[2].hold.as_ref().expect("the coupon was held");
    assert_eq!((held.state(), held.sequence), (v1::HoldState::Confirmed, 1));
    assert_eq!((&held.hold_id, &seen[2].time), (&confirm.hold_id, &held.confirm_time));
    let released = seen[4].hold.as_ref().expect("it is about a hold");
    assert_eq!((released.state(), &released.hold_id), (v1::HoldState::Released, &release.hold_id));
    assert_eq!((&seen[4].request_id, &seen[4].time), (&release.request_id, &released.release_time));
    assert_eq!((&seen[6].hold, seen[6].coupon.is_some()), (&None, true), "it was not held");
    for page_size in [1, 2, 3] {
        assert_eq!(listed(&client, page_size).await, seen);
    }
}

/// A consumer that is further than the backup learns that its events are of another history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_has_the_events_of_the_backup_and_another_history() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 10).await;
    let client = connect(&cluster).await;
    issue(&client, "ann").await;
    let kept = listed(&client, 1_000).await;
    let directory = cluster.dir().join("backup");
    let to = directory.to_string_lossy().into_owned();
    let backup = run(&["backup", "--node", &cluster.addresses().join(","), "--to", &to]);
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    for recipient in ["bob", "cat"] {
        issue(&client, recipient).await;
    }

    let restored = Cluster::restored(&directory).await;
    let client = connect(&restored).await;
    // Other coupons take the revisions of those that were lost.
    for recipient in ["dan", "eve", "fay"] {
        issue(&client, recipient).await;
    }
    let now = listed(&client, 2).await;
    assert_eq!(revisions(&now), [1, 2, 3, 4, 5]);
    let history_id = now[0].history_id;
    assert_ne!(history_id, kept[0].history_id);
    let anew: Vec<_> = kept.iter().map(|event| v1::Event { history_id, ..event.clone() }).collect();
    assert_eq!(now[..2], anew[..]);
    let mut late = client.stream_events(v1::StreamEventsRequest {
        campaign_id: "spring".to_owned(),
        after_revision: 4,
        history_id: kept[0].history_id,
    });
    let refused = timeout(PATIENCE, late.next()).await.expect("it is answered");
    assert_eq!(refused.expect_err("it is of the past").reason(), Some(Reason::HistoryChanged));
}

/// The command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_lists_and_follows_events() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 3).await;
    let router = cluster.router.as_str();
    let coupon_of = |recipient: &str| {
        run(&["issue", "spring", "--recipient", recipient, "--router", router]).status.success()
    };
    assert!(coupon_of("ann"));
    let listed = run(&["events", "spring", "--router", router]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].contains("CAMPAIGN_CREATED") && lines[1].ends_with(" ann"), "{listed}");

    let follow = ["events", "spring", "--after", "2", "--follow", "-o", "json", "--router", router];
    let mut follow = Process::start(coupon(&follow), &cluster.dir().join("follow.log"));
    assert!(coupon_of("bob"));
    follow.read_until("\"type\":\"COUPON_ISSUED\"");
    assert!(run(&["campaign", "pause", "spring", "--router", router]).status.success());
    follow.read_until("\"type\":\"CAMPAIGN_PAUSED\"");
}
