//! No input makes a router panic, and every error says what is wrong.

mod support;

use std::collections::BTreeMap;

use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::{
    BatchIssueCouponsRequest, CreateCampaignRequest, GetCampaignRequest, IssueCouponRequest,
    ListCampaignsRequest, ListCouponsRequest, StreamCouponsRequest, batch_issue_coupons_result,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost_types::{Duration, Timestamp};
use support::{Fixture, REQUEST_ID, Raw, reason};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Requests of every RPC.
#[derive(Debug, Clone)]
enum AnyRequest {
    Create(CreateCampaignRequest),
    Get(GetCampaignRequest),
    ListCampaigns(ListCampaignsRequest),
    Issue(IssueCouponRequest),
    Batch(BatchIssueCouponsRequest),
    ListCoupons(ListCouponsRequest),
    Stream(StreamCouponsRequest),
}

/// Texts that are valid somewhere, and all others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("spring".to_owned()),
        Just(REQUEST_ID.to_owned()),
        Just("e\u{301}\u{0}".to_owned()),
        "[a-z0-9-]{0,70}",
        "\\PC{0,300}",
        any::<String>(),
    ]
}

fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..40)
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![0..3_i64, Just(1_700_000_000), Just(i64::MAX), Just(i64::MIN), any::<i64>()]
}

fn small() -> impl Strategy<Value = i32> {
    prop_oneof![0..3_i32, Just(i32::MAX), Just(i32::MIN), any::<i32>()]
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    let time = (number(), small()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
    proptest::option::of(time)
}

fn issue() -> impl Strategy<Value = IssueCouponRequest> {
    (text(), text(), text(), map()).prop_map(|(campaign_id, recipient, request_id, metadata)| {
        IssueCouponRequest { campaign_id, recipient, request_id, metadata }
    })
}

fn create() -> impl Strategy<Value = CreateCampaignRequest> {
    let ttl = (number(), small()).prop_map(|(seconds, nanos)| Duration { seconds, nanos });
    let texts = (text(), text(), text());
    let times = (time(), time(), proptest::option::of(ttl));
    let numbers = (number(), small());
    let codes = (0..4, text(), 0..21);
    (texts, numbers, times, map(), codes).prop_map(
        |((campaign_id, display_name, request_id), numbers, times, labels, codes)| {
            let (quota, per_recipient_limit) = numbers;
            let (start_time, end_time, coupon_ttl) = times;
            let (code_profile, code_prefix, code_length) = codes;
            CreateCampaignRequest {
                campaign_id,
                display_name,
                quota,
                start_time,
                end_time,
                per_recipient_limit,
                coupon_ttl,
                labels,
                request_id,
                code_profile,
                code_prefix,
                code_length,
                code_source: 0,
                validate_only: false,
            }
        },
    )
}

fn any_request() -> impl Strategy<Value = AnyRequest> {
    let batch = proptest::collection::vec(issue(), 0..4);
    prop_oneof![
        create().prop_map(AnyRequest::Create),
        text().prop_map(|campaign_id| AnyRequest::Get(GetCampaignRequest { campaign_id })),
        (small(), text(), text()).prop_map(|(page_size, page_token, filter)| {
            AnyRequest::ListCampaigns(ListCampaignsRequest { page_size, page_token, filter })
        }),
        issue().prop_map(AnyRequest::Issue),
        batch.prop_map(|requests| AnyRequest::Batch(BatchIssueCouponsRequest { requests })),
        (text(), text(), small(), text()).prop_map(
            |(campaign_id, recipient, page_size, page_token)| {
                AnyRequest::ListCoupons(ListCouponsRequest {
                    campaign_id,
                    recipient,
                    page_size,
                    page_token,
                })
            }
        ),
        (text(), text()).prop_map(|(campaign_id, resume_token)| {
            AnyRequest::Stream(StreamCouponsRequest { campaign_id, resume_token })
        }),
    ]
}

async fn send(t: &mut Fixture, request: AnyRequest) -> Result<(), Status> {
    match request {
        AnyRequest::Create(request) => t.campaigns.create_campaign(request).await.map(drop),
        AnyRequest::Get(request) => t.campaigns.get_campaign(request).await.map(drop),
        AnyRequest::ListCampaigns(request) => t.campaigns.list_campaigns(request).await.map(drop),
        AnyRequest::Issue(request) => t.coupons.issue_coupon(request).await.map(drop),
        AnyRequest::Batch(request) => {
            let results = t.coupons.batch_issue_coupons(request).await?.into_inner().results;
            let internal = i32::from(Code::Internal);
            let fine = results.iter().all(|result| match &result.result {
                Some(batch_issue_coupons_result::Result::Error(error)) => error.code != internal,
                Some(batch_issue_coupons_result::Result::Response(_)) => true,
                None => false,
            });
            assert!(fine, "{results:?}");
            Ok(())
        }
        AnyRequest::ListCoupons(request) => t.coupons.list_coupons(request).await.map(drop),
        AnyRequest::Stream(request) => t.coupons.stream_coupons(request).await.map(drop),
    }
}

#[test]
fn every_request_is_answered_with_a_reason() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut t = runtime.block_on(async {
        let mut t = Fixture::start().await;
        t.create("spring", 1_000_000).await;
        t
    });
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::with_cases(1), rng);
    let strategy = any_request();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..500 {
        let request = strategy.new_tree(&mut runner).unwrap().current();
        match runtime.block_on(send(&mut t, request.clone())) {
            Ok(()) => accepted += 1,
            Err(status) => {
                refused += 1;
                let known = [
                    Code::InvalidArgument,
                    Code::NotFound,
                    Code::AlreadyExists,
                    Code::FailedPrecondition,
                ];
                assert!(known.contains(&status.code()), "{request:?}: {status:?}");
                assert!(!reason(&status).is_empty());
            }
        }
    }
    assert!(accepted > 50 && refused > 50, "{accepted} accepted, {refused} refused");
}

/// A request as bytes, so that it need not be a message.
async fn send_bytes(t: &Fixture, path: &'static str, bytes: Vec<u8>) -> Status {
    let mut client = tonic::client::Grpc::new(t.channel.clone());
    client.ready().await.expect("the router serves");
    let request = tonic::Request::new(bytes);
    let answer = client.unary(request, http::uri::PathAndQuery::from_static(path), Raw).await;
    answer.map(|_: tonic::Response<()>| ()).expect_err("the request is malformed")
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_a_reason() {
    let t = Fixture::start().await;
    let get = "/coupon.v1.CampaignService/GetCampaign";
    let issue = "/coupon.v1.CouponService/IssueCoupon";
    let batch = "/coupon.v1.CouponService/BatchIssueCoupons";
    for (path, bytes, said) in [
        (get, vec![0x0a, 2, 0xff, 0xfe], "UTF-8"),
        (issue, vec![0x0a, 9], "valid protobuf"),
        (get, vec![0; (64 << 10) + 1], "65536 bytes"),
        (issue, vec![0; (64 << 10) + 1], "65536 bytes"),
        (batch, vec![0; (2 << 20) + 1], "2097152 bytes"),
    ] {
        let status = send_bytes(&t, path, bytes).await;
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "FIELD_VIOLATIONS")
        );
        let request = status.get_details_bad_request().unwrap();
        assert_eq!(request.field_violations[0].field, "request");
        assert!(status.message().contains(said), "{status:?}");
    }
}

/// What many clients take of trailers at most.
const TRAILERS_BYTES_MAX: u32 = 8 << 10;

#[tokio::test]
async fn errors_with_many_violations_reach_clients_that_take_few_trailers() {
    let t = Fixture::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", t.router.local_addr())).unwrap();
    let channel = endpoint.http2_max_header_list_size(TRAILERS_BYTES_MAX).connect_lazy();
    // Each has a control character and a decomposed letter.
    let flawed: BTreeMap<String, String> =
        (0..32).map(|at| (format!("\u{7}e\u{301}{at}"), "\u{7}e\u{301}".to_owned())).collect();
    let create = CreateCampaignRequest {
        campaign_id: "spring".to_owned(),
        quota: 1,
        labels: flawed.clone(),
        ..Default::default()
    };
    let refused = CampaignServiceClient::new(channel.clone()).create_campaign(create).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "FIELD_VIOLATIONS")
    );
    let shown = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(shown[0].field, "labels[0].key");
    assert!(shown.last().unwrap().description.ends_with("more violations are not shown"));
    let issue = IssueCouponRequest {
        metadata: flawed.into_iter().take(16).collect(),
        ..support::issue("spring", "a")
    };
    let refused = CouponServiceClient::new(channel).issue_coupon(issue).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELD_VIOLATIONS");
}
