//! Every field of every request is checked, and a refusal names it.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use coupon_proto::v1::{
    BatchIssueCouponsRequest, Campaign, CodeProfile, CreateCampaignRequest, EndCampaignRequest,
    GetCampaignRequest, IssueCouponRequest, ListCampaignsRequest, ListCouponsRequest,
    StreamCouponsRequest, UpdateCampaignRequest, batch_issue_coupons_result,
};
use prost::Message as _;
use prost_types::{Duration, FieldMask, Timestamp};
use support::{Fixture, REQUEST_ID, issue, reason};
use tonic::Status;
use tonic_types::{StatusExt as _, pb};

/// A field, and a way to give it a value that it must not have.
type Spoiled<R> = (&'static str, fn(&mut R));

const CONTROL: &str = "a\u{7}";
const DECOMPOSED: &str = "e\u{301}";
const NIL: &str = "00000000-0000-0000-0000-000000000000";

const CREATE: &[Spoiled<CreateCampaignRequest>] = &[
    ("campaign_id", |r| r.campaign_id = "Upper".to_owned()),
    ("campaign_id", |r| r.campaign_id = "-a".to_owned()),
    ("campaign_id", |r| r.campaign_id = "a".repeat(64)),
    ("display_name", |r| r.display_name = "가".repeat(201)),
    ("display_name", |r| r.display_name = CONTROL.to_owned()),
    ("display_name", |r| r.display_name = DECOMPOSED.to_owned()),
    ("quota", |r| r.quota = 0),
    ("quota", |r| r.quota = -1),
    ("quota", |r| r.quota = 1_000_000_001),
    ("start_time", |r| r.start_time = at(-1, 0)),
    ("start_time", |r| r.start_time = at(0, 0)),
    ("start_time", |r| r.start_time = at(1, 1_000_000_000)),
    ("start_time", |r| r.start_time = at(253_402_300_800, 0)),
    ("end_time", |r| r.end_time = at(-1, 0)),
    ("end_time", |r| r.end_time = at(0, 0)),
    ("end_time", |r| r.end_time = at(2_000_000_000, -1)),
    ("end_time", |r| (r.start_time, r.end_time) = (at(1, 0), at(1, 0))),
    ("per_recipient_limit", |r| r.per_recipient_limit = -1),
    ("per_recipient_limit", |r| r.per_recipient_limit = 101),
    ("coupon_ttl", |r| r.coupon_ttl = lasting(0, 999_999_999)),
    ("coupon_ttl", |r| r.coupon_ttl = lasting(-1, 0)),
    ("coupon_ttl", |r| r.coupon_ttl = lasting(1, -1)),
    ("coupon_ttl", |r| r.coupon_ttl = lasting(3_654 * 86_400, 0)),
    ("labels", |r| r.labels = entries(33)),
    ("labels[0].key", |r| r.labels = entry("", "v")),
    ("labels[0].key", |r| r.labels = entry(&"k".repeat(64), "v")),
    ("labels[0].key", |r| r.labels = entry(CONTROL, "v")),
    ("labels[0].key", |r| r.labels = entry(DECOMPOSED, "v")),
    ("labels[0].value", |r| r.labels = entry("k", &"v".repeat(256))),
    ("labels[0].value", |r| r.labels = entry("k", CONTROL)),
    ("labels[0].value", |r| r.labels = entry("k", DECOMPOSED)),
    ("code_profile", |r| r.code_profile = 3),
    ("code_length", |r| r.code_length = -1),
    ("code_length", |r| r.code_length = 14),
    ("code_length", |r| (r.code_profile, r.code_length) = (CodeProfile::Latin.into(), 15)),
    ("code_prefix", |r| r.code_prefix = "summer-".to_owned()),
    ("code_prefix", |r| r.code_prefix = "2030-".to_owned()),
    ("code_prefix", |r| r.code_prefix = "A".repeat(12)),
    ("request_id", |r| r.request_id = "none".to_owned()),
    ("request_id", |r| r.request_id = NIL.to_owned()),
];

const UPDATE: &[Spoiled<UpdateCampaignRequest>] = &[
    ("campaign.campaign_id", |r| (r.campaign, r.update_mask) = (None, mask(&["labels"]))),
    ("campaign.campaign_id", |r| set(r).campaign_id = "Upper".to_owned()),
    ("campaign.display_name", |r| set(r).display_name = CONTROL.to_owned()),
    ("campaign.quota", |r| set(r).quota = 0),
    ("campaign.quota", |r| set(r).quota = 1_000_000_001),
    ("campaign.start_time", |r| set(r).start_time = at(0, 0)),
    ("campaign.end_time", |r| set(r).end_time = at(0, 0)),
    ("campaign.end_time", |r| (set(r).start_time, set(r).end_time) = (at(1, 0), at(1, 0))),
    ("campaign.labels", |r| set(r).labels = entries(33)),
    ("campaign.labels[0].key", |r| set(r).labels = entry("", "v")),
    ("campaign.per_recipient_limit", |r| set(r).per_recipient_limit = -1),
    ("campaign.coupon_ttl", |r| set(r).coupon_ttl = lasting(-1, 0)),
    ("campaign.etag", |r| set(r).etag = "e".repeat(34)),
    ("update_mask", |r| r.update_mask = mask(&["state"])),
    ("update_mask", |r| r.update_mask = mask(&["quota", "*"])),
    ("update_mask", |r| r.update_mask = mask(&["per_recipient_limit"])),
    ("update_mask", |r| (r.update_mask, set(r).quota) = (None, 0)),
    ("request_id", |r| r.request_id = NIL.to_owned()),
];

const END: &[Spoiled<EndCampaignRequest>] = &[
    ("campaign_id", |r| r.campaign_id.clear()),
    ("request_id", |r| r.request_id = "none".to_owned()),
];

/// The campaign of an update.
fn set(request: &mut UpdateCampaignRequest) -> &mut Campaign {
    request.campaign.get_or_insert_default()
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

const ISSUE: &[Spoiled<IssueCouponRequest>] = &[
    ("campaign_id", |r| r.campaign_id.clear()),
    ("campaign_id", |r| r.campaign_id = "Upper".to_owned()),
    ("recipient", |r| r.recipient = "가".repeat(43)),
    ("recipient", |r| r.recipient = CONTROL.to_owned()),
    ("recipient", |r| r.recipient = DECOMPOSED.to_owned()),
    ("request_id", |r| r.request_id = "none".to_owned()),
    ("request_id", |r| r.request_id = NIL.to_owned()),
    ("metadata", |r| r.metadata = entries(17)),
    ("metadata[0].key", |r| r.metadata = entry("", "v")),
    ("metadata[0].key", |r| r.metadata = entry(&"k".repeat(64), "v")),
    ("metadata[0].key", |r| r.metadata = entry(CONTROL, "v")),
    ("metadata[0].key", |r| r.metadata = entry(DECOMPOSED, "v")),
    ("metadata[0].value", |r| r.metadata = entry("k", &"v".repeat(256))),
    ("metadata[0].value", |r| r.metadata = entry("k", CONTROL)),
    ("metadata[0].value", |r| r.metadata = entry("k", DECOMPOSED)),
];

const BATCH: &[Spoiled<BatchIssueCouponsRequest>] = &[
    ("requests", |r| r.requests.clear()),
    ("requests", |r| r.requests = vec![IssueCouponRequest::default(); 1_001]),
];

const GET: &[Spoiled<GetCampaignRequest>] = &[
    ("campaign_id", |r| r.campaign_id.clear()),
    ("campaign_id", |r| r.campaign_id = "Upper".to_owned()),
];

const STREAM: &[Spoiled<StreamCouponsRequest>] = &[
    ("campaign_id", |r| r.campaign_id.clear()),
    ("campaign_id", |r| r.campaign_id = "Upper".to_owned()),
    ("resume_token", |r| r.resume_token = "token".to_owned()),
];

const LIST_CAMPAIGNS: &[Spoiled<ListCampaignsRequest>] = &[
    ("page_size", |r| r.page_size = -1),
    ("page_token", |r| r.page_token = "token".to_owned()),
    ("filter", |r| r.filter = "state = SOON".to_owned()),
];

const LIST_COUPONS: &[Spoiled<ListCouponsRequest>] = &[
    ("campaign_id", |r| (r.campaign_id, r.recipient) = Default::default()),
    ("campaign_id", |r| r.campaign_id = "Upper".to_owned()),
    ("recipient", |r| r.recipient = "가".repeat(43)),
    ("recipient", |r| r.recipient = CONTROL.to_owned()),
    ("recipient", |r| r.recipient = DECOMPOSED.to_owned()),
    ("page_size", |r| r.page_size = -1),
    ("page_token", |r| r.page_token = "token".to_owned()),
];

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn lasting(seconds: i64, nanos: i32) -> Option<Duration> {
    Some(Duration { seconds, nanos })
}

fn entry(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn entries(count: usize) -> BTreeMap<String, String> {
    (0..count).map(|number| (number.to_string(), String::new())).collect()
}

/// Sends a request as it is, which must be answered, and then with each field spoiled.
async fn check<R: Clone + std::fmt::Debug, A>(
    valid: R,
    table: &[Spoiled<R>],
    mut send: impl AsyncFnMut(R) -> Result<A, Status>,
) {
    assert!(send(valid.clone()).await.is_ok(), "{valid:?}");
    for (field, spoil) in table {
        let mut request = valid.clone();
        spoil(&mut request);
        let Err(status) = send(request.clone()).await else { panic!("{field}: {request:?}") };
        assert_eq!(reason(&status), "FIELD_VIOLATIONS", "{field}: {request:?}");
        let request_details = status.get_details_bad_request();
        let violations = request_details.expect("violations are shown").field_violations;
        let violated: BTreeSet<_> = violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(violated, BTreeSet::from([*field]), "{request:?}");
    }
}

#[tokio::test]
async fn every_field_that_is_wrong_is_named() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    let campaign_id = || "spring".to_owned();

    let (mut campaigns, mut coupons) = (t.campaigns.clone(), t.coupons.clone());
    let create = CreateCampaignRequest {
        campaign_id: "summer".to_owned(),
        quota: 1,
        request_id: REQUEST_ID.to_owned(),
        ..Default::default()
    };
    check(create, CREATE, async |request| campaigns.create_campaign(request).await).await;
    let campaign = Campaign { campaign_id: campaign_id(), quota: 1_000, ..Default::default() };
    let update = UpdateCampaignRequest {
        campaign: Some(campaign),
        update_mask: mask(&["*"]),
        ..Default::default()
    };
    check(update, UPDATE, async |request| campaigns.update_campaign(request).await).await;
    let get = GetCampaignRequest { campaign_id: campaign_id() };
    check(get, GET, async |request| campaigns.get_campaign(request).await).await;
    let list = ListCampaignsRequest::default();
    check(list, LIST_CAMPAIGNS, async |request| campaigns.list_campaigns(request).await).await;

    let one = issue("spring", "a");
    check(one.clone(), ISSUE, async |request| coupons.issue_coupon(request).await).await;
    let batch = BatchIssueCouponsRequest { requests: vec![one] };
    check(batch, BATCH, async |request| coupons.batch_issue_coupons(request).await).await;
    let list = ListCouponsRequest {
        campaign_id: campaign_id(),
        recipient: "a".to_owned(),
        ..Default::default()
    };
    check(list, LIST_COUPONS, async |request| coupons.list_coupons(request).await).await;
    let stream = StreamCouponsRequest { campaign_id: campaign_id(), ..Default::default() };
    check(stream, STREAM, async |request| coupons.stream_coupons(request).await).await;
    let end = EndCampaignRequest { campaign_id: campaign_id(), ..Default::default() };
    check(end, END, async |request| campaigns.end_campaign(request).await).await;
}

#[tokio::test]
async fn every_request_of_a_batch_is_checked_like_a_request_by_itself() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    let spoiled = ISSUE.iter().map(|(_, spoil)| {
        let mut request = issue("spring", "a");
        spoil(&mut request);
        request
    });
    let batch = BatchIssueCouponsRequest { requests: spoiled.collect() };
    let results = t.coupons.batch_issue_coupons(batch).await.unwrap().into_inner().results;
    assert_eq!(results.len(), ISSUE.len());
    for (result, (field, _)) in results.into_iter().zip(ISSUE) {
        let Some(batch_issue_coupons_result::Result::Error(error)) = result.result else {
            panic!("{field}: issued");
        };
        let bad = error.details.iter().find(|detail| detail.type_url.ends_with("BadRequest"));
        let bad = pb::BadRequest::decode(bad.unwrap().value.as_slice()).unwrap();
        let violated: BTreeSet<_> = bad.field_violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(violated, BTreeSet::from([*field]));
    }
    assert_eq!(t.cluster.issued("spring"), 0);
}
