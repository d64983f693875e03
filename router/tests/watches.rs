//! What clients see of the campaigns that they watch.

mod support;

use std::time::Duration;

use coupon_proto::v1::{
    Campaign, CampaignState, DeleteCampaignRequest, GetCampaignRequest, PauseCampaignRequest,
    ResumeCampaignRequest, WatchCampaignRequest, WatchCampaignResponse,
};
use support::{Fixture, issue, reason};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

/// How long a test waits for a message that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for a message that must not come: some intervals between two messages.
const SILENCE: Duration = Duration::from_millis(400);

fn request(campaign_id: &str) -> WatchCampaignRequest {
    WatchCampaignRequest { campaign_id: campaign_id.to_owned(), ..Default::default() }
}

async fn watch(t: &Fixture, request: WatchCampaignRequest) -> Streaming<WatchCampaignResponse> {
    let opened = t.campaigns.clone().watch_campaign(request).await;
    opened.expect("the campaign is there").into_inner()
}

/// The next message, or how the watch ended.
async fn next(watch: &mut Streaming<WatchCampaignResponse>) -> Result<Campaign, Status> {
    let message = timeout(PATIENCE, watch.message()).await.expect("a message comes")?;
    Ok(message.expect("a watch ends with an error").campaign.expect("it shows the campaign"))
}

async fn is_silent(watch: &mut Streaming<WatchCampaignResponse>) -> bool {
    timeout(SILENCE, watch.message()).await.is_err()
}

async fn pause(t: &Fixture, campaign_id: &str) {
    let request =
        PauseCampaignRequest { campaign_id: campaign_id.to_owned(), ..Default::default() };
    t.campaigns.clone().pause_campaign(request).await.expect("it is paused");
}

async fn resume(t: &Fixture, campaign_id: &str) {
    let request =
        ResumeCampaignRequest { campaign_id: campaign_id.to_owned(), ..Default::default() };
    t.campaigns.clone().resume_campaign(request).await.expect("it is resumed");
}

#[tokio::test]
async fn the_present_comes_first_and_then_every_change() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    let mut watch = watch(&t, request("spring")).await;
    let first = next(&mut watch).await.unwrap();
    assert_eq!((first.issued, first.state()), (1, CampaignState::Active));
    let get = GetCampaignRequest { campaign_id: "spring".to_owned() };
    let got = t.campaigns.get_campaign(get).await.unwrap().into_inner().campaign;
    assert_eq!(got.as_ref(), Some(&first), "a message is the whole campaign");
    assert!(is_silent(&mut watch).await, "nothing has changed");

    t.coupons.issue_coupon(issue("spring", "b")).await.unwrap();
    let issued = next(&mut watch).await.unwrap();
    assert_eq!((issued.issued, issued.revision), (2, first.revision + 1));
    pause(&t, "spring").await;
    let paused = next(&mut watch).await.unwrap();
    assert_eq!((paused.state(), paused.revision), (CampaignState::Paused, issued.revision + 1));
    assert_ne!(paused.etag, issued.etag);
}

#[tokio::test]
async fn a_watch_is_resumed_by_revision_and_state() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let first = next(&mut watch(&t, request("spring")).await).await.unwrap();
    let known = |state: CampaignState| WatchCampaignRequest {
        after_revision: first.revision,
        after_state: state.into(),
        ..request("spring")
    };
    let mut same = watch(&t, known(CampaignState::Active)).await;
    assert!(is_silent(&mut same).await, "there is nothing that the caller does not know");
    // Time alone has changed the state meanwhile.
    let mut scheduled = watch(&t, known(CampaignState::Scheduled)).await;
    assert_eq!(next(&mut scheduled).await.unwrap(), first);
    // After a restore the campaign is at an earlier revision.
    let future = WatchCampaignRequest { after_revision: 1_000, ..request("spring") };
    assert_eq!(next(&mut watch(&t, future).await).await.unwrap(), first);

    pause(&t, "spring").await;
    let changed = next(&mut same).await.unwrap();
    assert_eq!((changed.state(), changed.revision), (CampaignState::Paused, first.revision + 1));
    let mut late = watch(&t, known(CampaignState::Active)).await;
    assert_eq!(next(&mut late).await.unwrap(), changed);
}

#[tokio::test]
async fn all_watches_of_a_campaign_share_one_source_that_ends_with_them() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    let mut watches = Vec::new();
    for _ in 0..50 {
        watches.push(watch(&t, request("spring")).await);
    }
    for watch in &mut watches {
        next(watch).await.unwrap();
    }
    let before = t.cluster.reads();
    pause(&t, "spring").await;
    for watch in &mut watches {
        assert_eq!(next(watch).await.unwrap().state(), CampaignState::Paused);
    }
    let asked = t.cluster.reads() - before;
    assert!(asked < 50, "{asked} questions for one change");

    drop(watches);
    // A question may be under way; then there are no more.
    let mut reads = t.cluster.reads();
    let ended = async {
        loop {
            tokio::time::sleep(SILENCE).await;
            if std::mem::replace(&mut reads, t.cluster.reads()) == reads {
                return;
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("nobody asks for a campaign that nobody watches");
}

#[tokio::test]
async fn a_reader_gets_the_latest_state_at_most_ten_times_a_second() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    let mut reader = watch(&t, request("spring")).await;
    next(&mut reader).await.unwrap();
    let began = tokio::time::Instant::now();
    for number in 0..300 {
        t.coupons.issue_coupon(issue("spring", &number.to_string())).await.unwrap();
    }
    let mut messages = 0;
    loop {
        messages += 1;
        if next(&mut reader).await.unwrap().issued == 300 {
            break;
        }
    }
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(messages <= most, "{messages} messages in {:?}", began.elapsed());
}

#[tokio::test]
async fn a_watch_follows_the_leader() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    let mut watch = watch(&t, request("spring")).await;
    next(&mut watch).await.unwrap();
    for (number, leader) in (1..).zip([3, 2, 1]) {
        t.cluster.lead(leader);
        t.coupons.issue_coupon(issue("spring", &leader.to_string())).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap().issued, number);
    }
    // A leader that answers nothing any more is left as well.
    t.cluster.pause(1);
    t.cluster.lead(2);
    t.coupons.issue_coupon(issue("spring", "last")).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap().issued, 4);
}

#[tokio::test]
async fn a_watch_follows_a_newer_ring() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    let mut watch = watch(&t, request("spring")).await;
    next(&mut watch).await.unwrap();
    t.cluster.fence(2);
    t.cluster.change_map(|map| map.epoch = 2);
    pause(&t, "spring").await;
    assert_eq!(next(&mut watch).await.unwrap().state(), CampaignState::Paused);
    resume(&t, "spring").await;
    assert_eq!(next(&mut watch).await.unwrap().state(), CampaignState::Active);
}

#[tokio::test]
async fn a_watch_ends_when_its_campaign_is_deleted_or_was_never_there() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let mut deleted = watch(&t, request("spring")).await;
    next(&mut deleted).await.unwrap();
    let delete = DeleteCampaignRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    t.campaigns.delete_campaign(delete).await.unwrap();
    let ended = next(&mut deleted).await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::NotFound, "CAMPAIGN_NOT_FOUND"));
    let missing = t.campaigns.watch_campaign(request("none")).await.unwrap_err();
    assert_eq!(reason(&missing), "CAMPAIGN_NOT_FOUND");

    let wrong =
        WatchCampaignRequest { after_revision: -1, after_state: 99, ..request("Not An Id") };
    let refused = t.campaigns.watch_campaign(wrong).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELD_VIOLATIONS");
}

#[tokio::test]
async fn a_client_has_so_many_watches_and_is_refused_more() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let mut watches = Vec::new();
    let refused = loop {
        match t.campaigns.watch_campaign(request("spring")).await {
            Ok(watch) => watches.push(watch),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(watches.len(), 256);
    // Other calls are not refused, and one that ends makes room.
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    watches.pop();
    let another = async {
        while t.campaigns.watch_campaign(request("spring")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, another).await.expect("there is room for another one");
}

#[tokio::test]
async fn a_router_that_stops_ends_its_watches() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let mut watch = watch(&t, request("spring")).await;
    next(&mut watch).await.unwrap();
    let (stopped, ended) = tokio::join!(t.router.shutdown(), next(&mut watch));
    stopped.expect("no watch keeps the router");
    let ended = ended.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "STREAM_BROKEN"));
}
