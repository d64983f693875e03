//! The older API: its clients get what they were made for, of the same campaigns that the clients of `coupon.v1` see.

mod support;

use std::time::Duration;

use coupon_proto::couponpb::coupon_service_client::CouponServiceClient;
use coupon_proto::couponpb::{
    Campaign, CreateCampaignRequest, GetCampaignRequest, GetCampaignResponse, IssueCouponRequest,
};
use coupon_proto::v1;
use prost_types::Timestamp;
use support::http1::Http1;
use support::ledger::NOW_MICROS;
use support::state::Trick;
use support::{Fixture, issue, reason};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

struct Older {
    t: Fixture,
    client: CouponServiceClient<Channel>,
}

impl Older {
    async fn start() -> Self {
        let t = Fixture::start().await;
        let client = CouponServiceClient::new(t.channel.clone());
        Self { t, client }
    }

    async fn create(&mut self, name: &str, total_coupons: i64) -> i64 {
        let request =
            CreateCampaignRequest { name: name.to_owned(), start_time: None, total_coupons };
        let created = self.client.create_campaign(request).await.expect("it is created");
        created.into_inner().campaign_id
    }

    async fn issue(&mut self, campaign_id: i64) -> Result<String, Status> {
        let issued = self.client.issue_coupon(IssueCouponRequest { campaign_id }).await?;
        Ok(issued.into_inner().coupon_code)
    }

    async fn get(&mut self, campaign_id: i64) -> Result<GetCampaignResponse, Status> {
        let request = GetCampaignRequest { campaign_id };
        self.client.get_campaign(request).await.map(tonic::Response::into_inner)
    }

    /// The campaign as `coupon.v1` shows it, by its numeric id.
    async fn listed(&mut self, numeric_id: i64) -> v1::Campaign {
        let request = v1::ListCampaignsRequest::default();
        let listed = self.t.campaigns.list_campaigns(request).await.expect("they are listed");
        let mut campaigns = listed.into_inner().campaigns.into_iter();
        campaigns.find(|campaign| campaign.numeric_id == numeric_id).expect("it is listed")
    }
}

#[tokio::test]
async fn a_campaign_gives_its_coupons_and_lists_them_in_order() {
    let mut older = Older::start().await;
    let id = older.create("봄", 3).await;
    assert!(id >= 1 << 32, "{id}");
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(older.issue(id).await.unwrap());
    }
    let sold_out = older.issue(id).await.unwrap_err();
    assert_eq!(
        (sold_out.code(), reason(&sold_out).as_str()),
        (Code::FailedPrecondition, "SOLD_OUT")
    );
    assert_eq!(sold_out.message(), "no more coupons available");
    let found = older.get(id).await.unwrap();
    assert_eq!(found.coupon_codes, codes);
    let seconds = i64::try_from(NOW_MICROS / 1_000_000).unwrap();
    let start_time = Some(Timestamp { seconds, nanos: 0 });
    let campaign = Campaign { id, name: "봄".to_owned(), start_time, total_coupons: 3 };
    assert_eq!(found.campaign, Some(campaign));
}

#[tokio::test]
async fn both_apis_see_the_same_campaigns() {
    let mut older = Older::start().await;
    let id = older.create("summer", 2).await;
    let shown = older.listed(id).await;
    assert_eq!(
        (shown.display_name.as_str(), shown.quota, shown.per_recipient_limit),
        ("summer", 2, 0)
    );
    let newer = older.t.coupons.issue_coupon(issue(&shown.campaign_id, "alice")).await.unwrap();
    let code = older.issue(id).await.unwrap();
    let both = [newer.into_inner().coupon.unwrap().code, code];
    assert_eq!(older.get(id).await.unwrap().coupon_codes, both);

    older.t.create("autumn", 1).await;
    let request = v1::GetCampaignRequest { campaign_id: "autumn".to_owned() };
    let autumn = older.t.campaigns.get_campaign(request).await.unwrap().into_inner();
    let id = autumn.campaign.unwrap().numeric_id;
    let found = older.get(id).await.unwrap();
    assert_eq!(found.campaign.unwrap().name, "autumn", "it has no name but its id");
    assert_eq!(found.coupon_codes, Vec::<String>::new());
    older.issue(id).await.unwrap();
}

#[tokio::test]
async fn a_limit_per_recipient_needs_the_newer_api() {
    let mut older = Older::start().await;
    let request = v1::CreateCampaignRequest {
        campaign_id: "one-each".to_owned(),
        quota: 9,
        per_recipient_limit: 1,
        ..Default::default()
    };
    let created = older.t.campaigns.create_campaign(request).await.unwrap().into_inner();
    let id = created.campaign.unwrap().numeric_id;
    let refused = older.issue(id).await.unwrap_err();
    assert_eq!(reason(&refused), "RECIPIENT_REQUIRED");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_early_caller_is_told_that_it_has_not_started() {
    let mut older = Older::start().await;
    let start_time = Some(Timestamp { seconds: 1_800_000_000, nanos: 0 });
    let request = CreateCampaignRequest { name: "later".to_owned(), start_time, total_coupons: 1 };
    let created = older.client.create_campaign(request).await.unwrap().into_inner();
    let early = older.issue(created.campaign_id).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).as_str()), (Code::FailedPrecondition, "NOT_STARTED"));
    assert_eq!(early.message(), "coupon issuance not started yet");
}

#[tokio::test]
async fn ids_of_no_campaign_are_not_found() {
    let mut older = Older::start().await;
    let id = older.create("only", 1).await;
    let of_shard = |shard: i64| shard << 32;
    for id in [0, -1, 1, id + 1, of_shard(5), of_shard(1_023), i64::MAX] {
        for refused in [older.issue(id).await.map(drop), older.get(id).await.map(drop)] {
            let refused = refused.unwrap_err();
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::NotFound, "CAMPAIGN_NOT_FOUND")
            );
        }
    }
}

#[tokio::test]
async fn violations_name_the_fields_of_the_older_request() {
    let mut older = Older::start().await;
    let request =
        CreateCampaignRequest { name: " x".to_owned(), start_time: None, total_coupons: 0 };
    let refused = older.client.create_campaign(request).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["name", "total_coupons"]);
    assert!(refused.message().starts_with("name: "), "{refused:?}");
}

/// There is no request id to repeat it with, and libraries repeat UNAVAILABLE by themselves.
#[tokio::test]
async fn an_unknown_outcome_is_not_to_be_repeated() {
    let mut older = Older::start().await;
    let campaign_id = older.create("dark", 5).await;
    older.issue(campaign_id).await.unwrap();
    older.t.cluster.play([Trick::ApplySilently; 100]);
    let mut request = Request::new(IssueCouponRequest { campaign_id });
    request.set_timeout(Duration::from_millis(700));
    let unknown = older.client.issue_coupon(request).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::Unknown, "OUTCOME_UNKNOWN"));
}

#[tokio::test]
async fn more_coupons_than_a_page_are_listed_as_they_were_issued() {
    let mut older = Older::start().await;
    let id = older.create("many", 2_345).await;
    let campaign_id = older.listed(id).await.campaign_id;
    older.t.cluster.fill(&campaign_id, 2_345);
    let request = v1::StreamCouponsRequest { campaign_id, ..Default::default() };
    let mut parts = older.t.coupons.stream_coupons(request).await.unwrap().into_inner();
    let mut codes = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        codes.extend(part.coupons.into_iter().map(|coupon| coupon.code));
    }
    assert_eq!(codes.len(), 2_345);
    let listed = older.get(id).await.unwrap().coupon_codes;
    assert!(listed == codes, "{} codes, or in another order", listed.len());
}

#[tokio::test]
async fn a_campaign_that_an_answer_cannot_list_is_refused() {
    let mut older = Older::start().await;
    let id = older.create("huge", 1_000_000).await;
    let campaign_id = older.listed(id).await.campaign_id;
    older.t.cluster.fill(&campaign_id, 130_001);
    let refused = older.get(id).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "TOO_MANY_COUPONS")
    );
    assert!(refused.message().contains("coupon.v1.CouponService/StreamCoupons"), "{refused:?}");
}

#[tokio::test]
async fn json_has_ids_as_text_and_takes_them_as_numbers_too() {
    let older = Older::start().await;
    let mut client = Http1::connect(&older.t.router).await;
    let connect = "Connect-Protocol-Version: 1\r\nConnect-Timeout-Ms: 5000\r\n";
    let json = r#"{"name":"json","startTime":"2020-01-01T00:00:00Z","totalCoupons":2}"#;
    let created = client.post("couponpb.CouponService/CreateCampaign", connect, json).await;
    assert_eq!(created.status, 200, "{created:?}");
    let id =
        created.body.strip_prefix(r#"{"campaignId":""#).and_then(|rest| rest.strip_suffix(r#""}"#));
    let id: i64 = id.unwrap_or_else(|| panic!("{created:?}")).parse().unwrap();
    for json in [format!(r#"{{"campaignId":{id}}}"#), format!(r#"{{"campaign_id":"{id}"}}"#)] {
        let issued = client.post("couponpb.CouponService/IssueCoupon", connect, &json).await;
        assert_eq!(issued.status, 200, "{issued:?}");
        assert!(issued.body.starts_with(r#"{"couponCode":""#), "{issued:?}");
    }
    let json = format!(r#"{{"campaignId":"{id}"}}"#);
    let refused = client.post("couponpb.CouponService/IssueCoupon", connect, &json).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.contains(r#""code":"failed_precondition""#), "{refused:?}");
    assert!(refused.body.contains(r#""message":"no more coupons available""#), "{refused:?}");
    let shown = client.post("couponpb.CouponService/GetCampaign", connect, &json).await;
    let campaign = format!(
        r#"{{"campaign":{{"id":"{id}","name":"json","startTime":"2020-01-01T00:00:00Z","totalCoupons":"2"}},"couponCodes":["#
    );
    assert!(shown.body.starts_with(&campaign), "{shown:?}");
}
