//! Campaigns, as a client sees them.

use std::time::Duration;

use coupon_checker::{Campaign, Coupon, CouponState};
use coupon_client::{CallError, new_request_id};
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};
use uuid::Uuid;

use super::cluster::Cluster;
use super::wait::until;

/// The deadline of one call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates a campaign with a limit of one coupon per recipient.
pub(crate) async fn create(cluster: &Cluster, campaign_id: &str, quota: i64) {
    let mut client = CampaignServiceClient::new(cluster.connect());
    let request = v1::CreateCampaignRequest {
        campaign_id: campaign_id.to_owned(),
        quota,
        per_recipient_limit: 1,
        request_id: new_request_id(),
        ..v1::CreateCampaignRequest::default()
    };
    let created = client.create_campaign(request).await.expect("create a campaign").into_inner();
    assert_eq!(created.campaign.expect("it is there").quota, quota);
}

/// A request that was not sent before.
pub(crate) fn request(campaign_id: &str, recipient: &str) -> v1::IssueCouponRequest {
    v1::IssueCouponRequest {
        campaign_id: campaign_id.to_owned(),
        recipient: recipient.to_owned(),
        request_id: new_request_id(),
        ..v1::IssueCouponRequest::default()
    }
}

/// Sends a request once.
pub(crate) async fn issue(
    client: &mut CouponServiceClient<Channel>,
    request: v1::IssueCouponRequest,
) -> Result<v1::IssueCouponResponse, Status> {
    let mut call = Request::new(request);
    call.set_timeout(CALL_TIMEOUT);
    Ok(client.issue_coupon(call).await?.into_inner())
}

/// The reason of a refusal, or the name of its code.
pub(crate) fn reason(status: &Status) -> String {
    CallError::from(status.clone()).name().into_owned()
}

/// All coupons of a campaign, as the checker wants them; nothing is known yet of what was asked.
pub(crate) async fn read_back(cluster: &Cluster, campaign_id: &str, quota: u64) -> Campaign {
    let rows = until("the campaign to be read", async || {
        rows(cluster, campaign_id).await.inspect_err(|status| eprintln!("{status}")).ok()
    });
    Campaign {
        id: campaign_id.to_owned(),
        quota,
        per_recipient_limit: 1,
        rows: rows.await,
        ..Campaign::default()
    }
}

async fn rows(cluster: &Cluster, campaign_id: &str) -> Result<Vec<Coupon>, Status> {
    let mut client = CouponServiceClient::new(cluster.connect());
    let campaign_id = campaign_id.to_owned();
    let request = v1::StreamCouponsRequest { campaign_id, ..v1::StreamCouponsRequest::default() };
    let mut stream = client.stream_coupons(request).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(part) = stream.message().await? {
        rows.extend(part.coupons.into_iter().map(recorded));
    }
    Ok(rows)
}

/// A coupon as the checker wants it.
pub(crate) fn recorded(coupon: v1::Coupon) -> Coupon {
    let state = match coupon.state() {
        v1::CouponState::Redeemed => CouponState::Redeemed,
        v1::CouponState::Voided if coupon.quota_returned => CouponState::Returned,
        v1::CouponState::Voided => CouponState::Voided,
        v1::CouponState::Unspecified | v1::CouponState::Issued | v1::CouponState::Expired => {
            CouponState::Issued
        }
    };
    let request_id: Uuid = coupon.request_id.parse().expect("every coupon has a request id");
    Coupon {
        sequence: coupon.sequence.unsigned_abs(),
        code: coupon.code.into(),
        recipient: coupon.recipient.into(),
        request_id: request_id.as_u128(),
        state,
    }
}
