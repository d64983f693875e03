//! What clients see of a router in front of a healthy cluster.

mod support;

use std::collections::BTreeSet;

use coupon_proto::v1::{
    BatchIssueCouponsRequest, CampaignState, CreateCampaignRequest, GetCampaignRequest,
    ListCampaignsRequest, ListCouponsRequest, StreamCouponsRequest, batch_issue_coupons_result,
};
use prost_types::Timestamp;
use support::{Fixture, REQUEST_ID, issue, reason};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

#[tokio::test]
async fn issues_coupons_until_they_are_sold_out() {
    let mut t = Fixture::start().await;
    t.create("spring", 2).await;
    let first = t.coupons.issue_coupon(issue("spring", "a")).await.unwrap().into_inner();
    let second = t.coupons.issue_coupon(issue("spring", "b")).await.unwrap().into_inner();
    let (first, second) = (first.coupon.unwrap(), second.coupon.unwrap());
    assert_eq!((first.sequence, second.sequence), (1, 2));
    assert_eq!(first.code.chars().count(), 10);
    assert_ne!(first.code, second.code);

    let refused = t.coupons.issue_coupon(issue("spring", "c")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "SOLD_OUT");
    assert!(refused.message().contains("no more coupons available"));

    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    let campaign = t.campaigns.get_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!((campaign.issued, campaign.remaining), (2, 0));
    assert_eq!(campaign.state(), CampaignState::Exhausted);
}

#[tokio::test]
async fn the_same_request_id_gives_the_same_coupon() {
    let mut t = Fixture::start().await;
    t.create("spring", 2).await;
    let mut request = issue("spring", "a");
    request.request_id = REQUEST_ID.to_owned();
    let first = t.coupons.issue_coupon(request.clone()).await.unwrap().into_inner();
    let again = t.coupons.issue_coupon(request).await.unwrap().into_inner();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.coupon, again.coupon);
    assert_eq!(first.coupon.unwrap().request_id, REQUEST_ID);
}

#[tokio::test]
async fn refusals_say_what_helps() {
    let mut t = Fixture::start().await;
    let mut later = CreateCampaignRequest {
        campaign_id: "later".to_owned(),
        quota: 1,
        start_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        per_recipient_limit: 1,
        request_id: REQUEST_ID.to_owned(),
        ..Default::default()
    };
    t.campaigns.create_campaign(later.clone()).await.unwrap();
    let early = t.coupons.issue_coupon(issue("later", "a")).await.unwrap_err();
    assert_eq!(reason(&early), "NOT_STARTED");
    let metadata = early.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["start_time"], "2027-01-15T08:00:00Z");
    assert_eq!(metadata["server_time"], "2023-11-14T22:13:20Z");

    (later.campaign_id, later.start_time) = ("now".to_owned(), None);
    t.campaigns.create_campaign(later).await.unwrap();
    let held = t.coupons.issue_coupon(issue("now", "a")).await.unwrap().into_inner();
    let full = t.coupons.issue_coupon(issue("now", "a")).await.unwrap_err();
    assert_eq!(
        (full.code(), reason(&full).as_str()),
        (Code::AlreadyExists, "RECIPIENT_LIMIT_REACHED")
    );
    assert_eq!(full.get_details_error_info().unwrap().metadata["codes"], held.coupon.unwrap().code);

    let unknown = t.coupons.issue_coupon(issue("nothing", "a")).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "CAMPAIGN_NOT_FOUND"));
}

#[tokio::test]
async fn all_violations_are_named_at_once() {
    let mut t = Fixture::start().await;
    let request = CreateCampaignRequest {
        campaign_id: "Upper".to_owned(),
        quota: 0,
        end_time: Some(Timestamp { seconds: -1, nanos: 0 }),
        per_recipient_limit: 1_001,
        request_id: "none".to_owned(),
        ..Default::default()
    };
    let refused = t.campaigns.create_campaign(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let fields: BTreeSet<_> = violations.iter().map(|v| v.field.as_str()).collect();
    let wrong = ["campaign_id", "end_time", "per_recipient_limit", "quota", "request_id"];
    assert_eq!(fields, BTreeSet::from(wrong));
}

#[tokio::test]
async fn a_campaign_without_an_id_gets_one_of_its_request() {
    let mut t = Fixture::start().await;
    let request =
        CreateCampaignRequest { quota: 1, request_id: REQUEST_ID.to_owned(), ..Default::default() };
    let first = t.campaigns.create_campaign(request.clone()).await.unwrap().into_inner();
    let again = t.campaigns.create_campaign(request).await.unwrap().into_inner();
    let id = first.campaign.unwrap().campaign_id;
    assert_eq!(id, format!("c-{}", REQUEST_ID.replace('-', "")));
    assert!(again.replayed);
}

#[tokio::test]
async fn a_batch_answers_each_item() {
    let mut t = Fixture::start().await;
    t.create("spring", 998).await;
    t.create("summer", 10).await;
    let mut requests = vec![issue("spring", ""); 998];
    requests.push(issue("summer", "x"));
    requests.push(issue("nothing", "x"));
    let batch = BatchIssueCouponsRequest { requests };
    let results = t.coupons.batch_issue_coupons(batch).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 1_000);
    let mut codes = BTreeSet::new();
    for result in &results[..999] {
        let Some(batch_issue_coupons_result::Result::Response(response)) = &result.result else {
            panic!("not issued: {result:?}");
        };
        codes.insert(response.coupon.clone().unwrap().code);
    }
    assert_eq!(codes.len(), 999);
    let Some(batch_issue_coupons_result::Result::Error(error)) = &results[999].result else {
        panic!("issued of nothing");
    };
    assert_eq!(error.code, i32::from(Code::NotFound));

    let empty = t.coupons.batch_issue_coupons(BatchIssueCouponsRequest::default()).await;
    assert_eq!(empty.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn campaigns_are_listed_page_by_page_over_all_shards() {
    let mut t = Fixture::start().await;
    for number in 0..25 {
        t.create(&format!("campaign-{number}"), 1).await;
    }
    let (mut seen, mut token, mut pages) = (BTreeSet::new(), String::new(), 0);
    loop {
        let request =
            ListCampaignsRequest { page_size: 4, page_token: token, ..Default::default() };
        let page = t.campaigns.list_campaigns(request).await.unwrap().into_inner();
        pages += 1;
        for campaign in page.campaigns {
            assert!(seen.insert(campaign.campaign_id), "listed twice");
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert!((7..=8).contains(&pages), "{pages}");

    let garbage =
        ListCampaignsRequest { page_size: 1, page_token: "00".to_owned(), ..Default::default() };
    let refused = t.campaigns.list_campaigns(garbage).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "page_token");
}

#[tokio::test]
async fn coupons_are_listed_by_campaign_and_by_recipient() {
    let mut t = Fixture::start().await;
    for number in 0..6 {
        let campaign = format!("campaign-{number}");
        t.create(&campaign, 10).await;
        for recipient in ["a", "b", "a"] {
            t.coupons.issue_coupon(issue(&campaign, recipient)).await.unwrap();
        }
    }
    let mut request =
        ListCouponsRequest { recipient: "a".to_owned(), page_size: 5, ..Default::default() };
    let mut codes = BTreeSet::new();
    loop {
        let page = t.coupons.list_coupons(request.clone()).await.unwrap().into_inner();
        assert!(page.coupons.iter().all(|coupon| coupon.recipient == "a"));
        codes.extend(page.coupons.into_iter().map(|coupon| coupon.code));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(codes.len(), 12);
    request.recipient = "b".to_owned();
    let refused = t.coupons.list_coupons(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "a token of another listing");

    let one = ListCouponsRequest { campaign_id: "campaign-3".to_owned(), ..Default::default() };
    let page = t.coupons.list_coupons(one).await.unwrap().into_inner();
    let sequences: Vec<_> = page.coupons.iter().map(|coupon| coupon.sequence).collect();
    assert_eq!((sequences.as_slice(), page.next_page_token.as_str()), ([1, 2, 3].as_slice(), ""));

    let none = t.coupons.list_coupons(ListCouponsRequest::default()).await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn all_coupons_of_a_campaign_are_streamed_at_one_revision() {
    let mut t = Fixture::start().await;
    t.create("full", 10).await;
    t.create("empty", 10).await;
    for _ in 0..5 {
        t.coupons.issue_coupon(issue("full", "a")).await.unwrap();
    }
    let request = |id: &str| StreamCouponsRequest {
        campaign_id: id.to_owned(),
        ..StreamCouponsRequest::default()
    };
    let mut stream = t.coupons.stream_coupons(request("full")).await.unwrap().into_inner();
    let mut sequences = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        assert_eq!(part.revision, 6);
        sequences.extend(part.coupons.iter().map(|coupon| coupon.sequence));
    }
    assert_eq!(sequences, [1, 2, 3, 4, 5]);

    let mut stream = t.coupons.stream_coupons(request("empty")).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert_eq!((only.coupons.len(), only.revision), (0, 1));
    assert!(stream.message().await.unwrap().is_none());

    let unknown = t.coupons.stream_coupons(request("nothing")).await.unwrap_err();
    assert_eq!(reason(&unknown), "CAMPAIGN_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_share_batches_on_any_runtime() {
    let mut t = Fixture::start().await;
    t.create("spring", 256).await;
    let requests = (0..300).map(|_| {
        let mut coupons = t.coupons.clone();
        async move { coupons.issue_coupon(issue("spring", "")).await }
    });
    let answers = futures::future::join_all(requests).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 256);
    assert_eq!(t.cluster.issued("spring"), 256);
    let streams: BTreeSet<_> =
        t.cluster.seen().iter().map(|seen| seen.hello.stream_number).collect();
    assert_eq!(streams.len(), 1);
}

#[tokio::test]
async fn health_and_both_reflections_answer() {
    use tonic_reflection::pb::{v1, v1alpha};

    let t = Fixture::start().await;
    let mut health = HealthClient::new(t.channel.clone());
    for service in ["", "coupon.v1.CouponService", "coupon.v1.CampaignService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status;
        assert_eq!(status, 1, "{service} serves");
    }

    let wanted = ["coupon.v1.CampaignService", "coupon.v1.CouponService", "grpc.health.v1.Health"];
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(t.channel.clone());
    let question = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut answers =
        client.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(services) = answer
    else {
        panic!("not a list of services: {answer:?}");
    };
    let names: BTreeSet<_> = services.service.into_iter().map(|service| service.name).collect();
    assert!(wanted.iter().all(|name| names.contains(*name)), "{names:?}");

    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(t.channel.clone());
    let question = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "coupon.v1.CouponService.IssueCoupon".to_owned(),
            ),
        ),
    };
    let mut answers =
        client.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(
        answer,
        v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)
    ));
    t.router.shutdown().await.unwrap();
}
