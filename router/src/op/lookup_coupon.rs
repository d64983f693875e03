//! `LookupCoupon`, which anybody may call who has a code.

use coupon_proto::v1::{Coupon, LookupCouponRequest, LookupCouponResponse};
use tokio::time::Instant;

use super::check::Check;
use super::code::RequestedCode;
use super::one_coupon::coupon;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Shows what is public about a coupon.
///
/// # Errors
/// [`Fault`].
pub(super) async fn lookup_coupon(
    shards: &ShardClient,
    request: &LookupCouponRequest,
    deadline: Instant,
) -> Result<LookupCouponResponse, Fault> {
    let code = RequestedCode::read(Check::default(), &request.code, &request.campaign_id)?;
    let response = code.find(shards, deadline).await?;
    let found = coupon(shards, response, deadline).await?;
    let public = Coupon {
        campaign_id: found.campaign_id,
        code: found.code,
        state: found.state,
        issue_time: found.issue_time,
        expire_time: found.expire_time,
        redeem_time: found.redeem_time,
        void_time: found.void_time,
        ..Default::default()
    };
    Ok(LookupCouponResponse { coupon: Some(public) })
}
