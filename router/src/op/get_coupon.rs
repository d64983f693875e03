//! `GetCoupon`.

use coupon_proto::internal::{GetCouponQuery, read_request};
use coupon_proto::v1::{GetCouponRequest, GetCouponResponse};
use tokio::time::Instant;

use super::check::Check;
use super::one_coupon::coupon;
use crate::answer::error::Fault;
use crate::route::topology::Destination;
use crate::shards::shard_client::ShardClient;

/// Shows a coupon.
///
/// # Errors
/// [`Fault`].
pub(super) async fn get_coupon(
    shards: &ShardClient,
    request: &GetCouponRequest,
    deadline: Instant,
) -> Result<GetCouponResponse, Fault> {
    let mut check = Check::default();
    let campaign = check.campaign_id(&request.campaign_id);
    check.range("sequence", request.sequence, 1, i64::MAX);
    check.result()?;
    let campaign = campaign.ok_or(Fault::Internal("an id is missing without a violation"))?;
    let query = read_request::Query::GetCoupon(GetCouponQuery {
        campaign: campaign.to_string(),
        sequence: request.sequence.unsigned_abs(),
    });
    let response = shards.read_from(Destination::Owner(&campaign), query, deadline).await?;
    Ok(GetCouponResponse { coupon: Some(coupon(shards, response, deadline).await?) })
}
