//! Streams of coupons: at one revision, resumed where they broke, and bounded.

mod support;

use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::{Coupon, StreamCouponsRequest, StreamCouponsResponse};
use support::{Fixture, connect_narrow, issue, reason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const COUPONS: usize = 1_700;

/// A router in front of a campaign of [`COUPONS`] coupons.
async fn fixture() -> Fixture {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000_000).await;
    t.cluster.fill("spring", COUPONS as u64);
    t
}

fn request(resume_token: &str) -> StreamCouponsRequest {
    let (campaign_id, resume_token) = ("spring".to_owned(), resume_token.to_owned());
    StreamCouponsRequest { campaign_id, resume_token }
}

/// All parts of a stream, until it ends or breaks.
async fn parts(
    t: &mut Fixture,
    request: StreamCouponsRequest,
) -> Result<Vec<StreamCouponsResponse>, Status> {
    let mut stream = t.coupons.stream_coupons(request).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        parts.push(part);
    }
    Ok(parts)
}

fn coupons(parts: &[StreamCouponsResponse]) -> Vec<Coupon> {
    parts.iter().flat_map(|part| part.coupons.clone()).collect()
}

#[tokio::test]
async fn a_stream_is_resumed_after_any_part_and_shows_the_same_revision() {
    let mut t = fixture().await;
    let all = parts(&mut t, request("")).await.unwrap();
    assert!(all.len() > 2, "{} parts", all.len());
    assert_eq!(coupons(&all).len(), COUPONS);
    let (last, others) = all.split_last().unwrap();
    assert_eq!(last.resume_token, "", "nothing follows the last part");
    for _ in 0..10 {
        t.coupons.issue_coupon(issue("spring", "late")).await.unwrap();
    }
    for (number, part) in others.iter().enumerate() {
        let rest = parts(&mut t, request(&part.resume_token)).await.unwrap();
        assert_eq!(rest, all[number + 1..], "after part {number}");
    }
    let count = i64::try_from(COUPONS).unwrap();
    assert!(all.iter().all(|part| part.coupon_count == count && part.revision == all[0].revision));
    let now = parts(&mut t, request("")).await.unwrap();
    assert_eq!(coupons(&now).len(), COUPONS + 10);
    assert!(now[0].revision > all[0].revision);
}

#[tokio::test]
async fn a_new_leader_does_not_break_a_stream() {
    let mut t = fixture().await;
    let whole = parts(&mut t, request("")).await.unwrap();
    let mut stream = t.coupons.stream_coupons(request("")).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for leader in [2, 3, 1].into_iter().cycle() {
        t.cluster.lead(leader);
        let Some(part) = stream.message().await.unwrap() else { break };
        seen.push(part);
    }
    assert_eq!(seen, whole);
}

#[tokio::test]
async fn a_stream_whose_revision_is_forgotten_is_to_begin_again() {
    let mut t = fixture().await;
    let first = parts(&mut t, request("")).await.unwrap().remove(0);
    t.cluster.forget_revisions();
    let gone = parts(&mut t, request(&first.resume_token)).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::Aborted, "REVISION_GONE"));
}

#[tokio::test]
async fn a_stream_is_not_resumed_in_another_history_of_its_shard() {
    let mut t = fixture().await;
    let first = parts(&mut t, request("")).await.unwrap().remove(0);
    t.cluster.recover();
    let gone = parts(&mut t, request(&first.resume_token)).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::Aborted, "REVISION_GONE"));
    assert_eq!(coupons(&parts(&mut t, request("")).await.unwrap()).len(), COUPONS);
}

#[tokio::test]
async fn a_shard_that_does_not_answer_holds_up_no_stream_of_another_one() {
    let mut t = fixture().await;
    let of_spring = t.cluster.last_seen().hello.shard_id;
    let mut others = (0..).map(|number| format!("other-{number}"));
    let other = loop {
        let other = others.next().unwrap();
        t.create(&other, 1_000_000).await;
        if t.cluster.last_seen().hello.shard_id != of_spring {
            break other;
        }
    };
    t.cluster.fill("spring", 20_000);
    t.cluster.fill(&other, COUPONS as u64);
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let mut coupons = CouponServiceClient::new(connect_narrow(&t.router));
        stuck.push(coupons.stream_coupons(request("")).await.unwrap().into_inner());
    }
    t.cluster.hang(of_spring);
    let stuck: Vec<_> = stuck
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} })
        })
        .collect();
    t.cluster.until_hanging(4).await;
    let other = StreamCouponsRequest { campaign_id: other, ..request("") };
    assert_eq!(coupons(&parts(&mut t, other).await.unwrap()).len(), COUPONS);
    assert!(stuck.iter().all(|stream| !stream.is_finished()), "it waited for the others");
}

#[tokio::test]
async fn a_token_belongs_to_streams_of_one_campaign() {
    let mut t = fixture().await;
    t.create("other", 10).await;
    let token = parts(&mut t, request("")).await.unwrap().remove(0).resume_token;
    let other = StreamCouponsRequest { campaign_id: "other".to_owned(), ..request(&token) };
    let mut changed = token.clone();
    changed.replace_range(..1, if token.starts_with('0') { "1" } else { "0" });
    for refused in [other, request("00"), request(&changed), request(&token[2..])] {
        let refused = parts(&mut t, refused).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "resume_token");
    }
}

#[tokio::test]
async fn a_client_may_have_its_share_of_streams() {
    let mut t = fixture().await;
    let mut unread = Vec::new();
    let refused = loop {
        let mut coupons = CouponServiceClient::new(connect_narrow(&t.router));
        match coupons.stream_coupons(request("")).await {
            Ok(stream) => unread.push(stream),
            Err(status) => break status,
        }
    };
    assert_eq!((unread.len(), reason(&refused).as_str()), (32, "OVERLOADED"));
    assert!(refused.get_details_retry_info().is_some());
    unread.pop();
    loop {
        // The router learns of it a little later.
        match parts(&mut t, request("")).await {
            Ok(all) => break assert_eq!(coupons(&all).len(), COUPONS),
            Err(status) => assert_eq!(reason(&status), "OVERLOADED"),
        }
    }
}
