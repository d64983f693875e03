//! `IssueCoupon` of the older API.

use coupon_proto::couponpb::{IssueCouponRequest, IssueCouponResponse};
use coupon_proto::v1;
use tokio::time::Instant;

use super::names::Names;
use crate::answer::error::Fault;
use crate::op::issue_coupon::issue_coupon as issue;
use crate::shards::shard_client::ShardClient;

/// Issues a coupon to no particular recipient.
///
/// # Errors
/// [`Fault`].
pub(super) async fn issue_coupon(
    shards: &ShardClient,
    names: &Names,
    request: &IssueCouponRequest,
    deadline: Instant,
) -> Result<IssueCouponResponse, Fault> {
    let name = names.find(shards, request.campaign_id, deadline).await?;
    let campaign_id = name.id().to_owned();
    let request = v1::IssueCouponRequest { campaign_id, ..Default::default() };
    let issued = issue(shards, request, deadline).await?;
    Ok(IssueCouponResponse { coupon_code: issued.coupon.unwrap_or_default().code })
}
