//! `ValidateCoupon`.

use coupon_proto::v1::{ValidateCouponRequest, ValidateCouponResponse};
use tokio::time::Instant;

use super::code;
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
    let code = code::parse(&request.code)?;
    let mut response = code::find(shards, &code, deadline).await?;
    let refusal = response.redemption_refusal.take();
    let coupon = coupon(shards, response, deadline).await?;
    let topology = shards.topology(deadline).await?;
    let error = refusal.map(|refusal| Fault::refused(refusal, &topology).into_pb());
    Ok(ValidateCouponResponse { coupon: Some(coupon), redeemable: error.is_none(), error })
}
