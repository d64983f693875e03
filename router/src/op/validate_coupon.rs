//! `ValidateCoupon`.

use coupon_proto::v1::{ValidateCouponRequest, ValidateCouponResponse};
use tokio::time::Instant;

use super::check::Check;
use super::code::RequestedCode;
use super::one_coupon::coupon;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Says whether a coupon can be redeemed now.
///
/// # Errors
/// [`Fault`].
pub(super) async fn validate_coupon(
    shards: &ShardClient,
    request: &ValidateCouponRequest,
    deadline: Instant,
) -> Result<ValidateCouponResponse, Fault> {
    let code = RequestedCode::read(Check::default(), &request.code, &request.campaign_id)?;
    let mut response = code.find(shards, deadline).await?;
    let refusal = response.redemption_refusal.take();
    let coupon = coupon(shards, response, deadline).await?;
    let topology = shards.topology(deadline).await?;
    let error = refusal.map(|refusal| Fault::refused(refusal, &topology).into_pb());
    Ok(ValidateCouponResponse { coupon: Some(coupon), redeemable: error.is_none(), error })
}
