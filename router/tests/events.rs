//! What clients see of the events of a campaign.

mod support;

use std::time::Duration;

use coupon_proto::v1::{
    DeleteCampaignRequest, Event, EventType, ListEventsRequest, StreamEventsRequest,
    StreamEventsResponse,
};
use support::{Fixture, issue, reason};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

/// How long a test waits for a message that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for a message that must not come: some intervals between two questions.
const SILENCE: Duration = Duration::from_millis(300);

fn list(after_revision: i64, page_size: i32) -> ListEventsRequest {
    let campaign_id = "spring".to_owned();
    ListEventsRequest { campaign_id, after_revision, page_size, history_id: 0 }
}

fn stream(after_revision: i64) -> StreamEventsRequest {
    StreamEventsRequest { campaign_id: "spring".to_owned(), after_revision, history_id: 0 }
}

/// The next events of a stream, or how it ended.
async fn next(stream: &mut Streaming<StreamEventsResponse>) -> Result<Vec<Event>, Status> {
    let message = timeout(PATIENCE, stream.message()).await.expect("a message comes")?;
    Ok(message.expect("a stream of events ends with an error").events)
}

fn revisions(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.revision).collect()
}

async fn campaign(coupons: usize) -> Fixture {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    for number in 0..coupons {
        t.coupons
            .issue_coupon(issue("spring", &number.to_string()))
            .await
            .expect("a coupon is left");
    }
    t
}

#[tokio::test]
async fn events_are_listed_in_pages_and_show_their_coupons() {
    let mut t = campaign(4).await;
    let first = t.events.list_events(list(0, 2)).await.unwrap().into_inner();
    assert_eq!((revisions(&first.events), first.revision), (vec![1, 2], 5));
    let [created, issued] = &first.events[..] else { panic!("{first:?}") };
    assert_eq!((created.r#type(), created.coupon.is_some()), (EventType::CampaignCreated, false));
    assert!(created.terms.is_some());
    assert_eq!(issued.r#type(), EventType::CouponIssued);
    let coupon = issued.coupon.as_ref().unwrap();
    assert_eq!((coupon.sequence, coupon.recipient.as_str()), (1, "0"));
    assert_eq!(coupon.code.chars().count(), 10);
    let position = issued.log_position.unwrap();
    assert!(position.shard_id > 0 && position.index == 102, "{position:?}");

    let rest = t.events.list_events(list(2, 0)).await.unwrap().into_inner();
    assert_eq!(revisions(&rest.events), [3, 4, 5]);
    let none = t.events.list_events(list(5, 0)).await.unwrap().into_inner();
    assert_eq!((none.events.len(), none.revision), (0, 5));
    let beyond = t.events.list_events(list(6, 0)).await.unwrap_err();
    assert_eq!(reason(&beyond), "FIELD_VIOLATIONS");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let mut t = campaign(1).await;
    let wrong = ListEventsRequest {
        campaign_id: "Not An Id".to_owned(),
        after_revision: -1,
        history_id: -1,
        page_size: -1,
    };
    let refused = t.events.list_events(wrong).await.unwrap_err();
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    let mut fields: Vec<_> = fields.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["after_revision", "campaign_id", "history_id", "page_size"]);
    let missing = StreamEventsRequest { campaign_id: "none".to_owned(), ..stream(0) };
    let missing = t.events.stream_events(missing).await.unwrap_err();
    assert_eq!(reason(&missing), "CAMPAIGN_NOT_FOUND");
}

#[tokio::test]
async fn a_stream_goes_on_with_what_happens_whoever_leads() {
    let mut t = campaign(3).await;
    let mut events = t.events.stream_events(stream(1)).await.unwrap().into_inner();
    assert_eq!(revisions(&next(&mut events).await.unwrap()), [2, 3, 4]);
    assert!(timeout(SILENCE, events.message()).await.is_err(), "nothing has happened");
    for (revision, leader) in (5..).zip([3, 2, 1]) {
        t.cluster.lead(leader);
        t.coupons.issue_coupon(issue("spring", &leader.to_string())).await.unwrap();
        assert_eq!(revisions(&next(&mut events).await.unwrap()), [revision]);
    }
    for number in 0..200 {
        t.coupons.issue_coupon(issue("spring", &format!("more-{number}"))).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 200 {
        seen.extend(revisions(&next(&mut events).await.unwrap()));
    }
    assert_eq!(seen, (8..208).collect::<Vec<_>>(), "each exactly once, in order");

    let delete = DeleteCampaignRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    t.campaigns.delete_campaign(delete).await.unwrap();
    let ended = next(&mut events).await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::NotFound, "CAMPAIGN_NOT_FOUND"));
}

#[tokio::test]
async fn a_place_of_an_earlier_history_is_refused() {
    let mut t = campaign(3).await;
    let mut events = t.events.stream_events(stream(3)).await.unwrap().into_inner();
    next(&mut events).await.unwrap();
    t.cluster.restore();
    t.coupons.issue_coupon(issue("spring", "later")).await.unwrap();
    let refusals =
        [next(&mut events).await.unwrap_err(), t.events.list_events(list(3, 0)).await.unwrap_err()];
    for refused in refusals {
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(
            (refused.code(), info.reason.as_str()),
            (Code::FailedPrecondition, "HISTORY_CHANGED")
        );
        assert_eq!(info.metadata["history_id"], "1");
    }
    let anew = t.events.list_events(list(0, 0)).await.unwrap().into_inner();
    assert_eq!((anew.events.len(), anew.events[0].history_id), (5, 1));
    let known = ListEventsRequest { history_id: 1, ..list(4, 0) };
    let known = t.events.list_events(known).await.unwrap().into_inner();
    assert_eq!(revisions(&known.events), [5]);
}

#[tokio::test]
async fn a_client_has_so_many_streams_and_a_router_ends_them_when_it_stops() {
    let mut t = campaign(1).await;
    let mut streams = Vec::new();
    let refused = loop {
        match t.events.stream_events(stream(0)).await {
            Ok(events) => streams.push(events.into_inner()),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(streams.len(), 64);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    let mut kept = streams.pop().unwrap();
    drop(streams);
    let (stopped, ended) = tokio::join!(t.router.shutdown(), async {
        loop {
            if let Err(ended) = next(&mut kept).await {
                return ended;
            }
        }
    });
    stopped.expect("no stream keeps the router");
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "STREAM_BROKEN"));
}
