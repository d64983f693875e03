//! `RedeemCoupon`.

use coupon_proto::internal::RedeemCouponCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{RedeemCouponRequest, RedeemCouponResponse};
use tokio::time::Instant;

use super::change_coupon::Change;
use super::check::Check;
use super::code::CommandCode;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Redeems a coupon.
///
/// # Errors
/// [`Fault`].
pub(super) async fn redeem_coupon(
    shards: &ShardClient,
    request: RedeemCouponRequest,
    deadline: Instant,
) -> Result<RedeemCouponResponse, Fault> {
    let mut check = Check::default();
    check.reference("order_ref", &request.order_ref);
    let change = Change::new(check, &request.code, &request.campaign_id, &request.request_id)?;
    let operation = |CommandCode { code, campaign_code }, request_id| {
        let order_ref = request.order_ref.clone();
        Operation::RedeemCoupon(RedeemCouponCommand { code, request_id, order_ref, campaign_code })
    };
    let (coupon, replayed) = change.make(shards, operation, deadline).await?;
    Ok(RedeemCouponResponse { coupon: Some(coupon), replayed })
}
