//! `VoidCoupon`.

use coupon_proto::internal::VoidCouponCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{VoidCouponRequest, VoidCouponResponse};
use tokio::time::Instant;

use super::change_coupon::Change;
use super::check::Check;
use super::code::CommandCode;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Voids a coupon.
///
/// # Errors
/// [`Fault`].
pub(super) async fn void_coupon(
    shards: &ShardClient,
    request: VoidCouponRequest,
    deadline: Instant,
) -> Result<VoidCouponResponse, Fault> {
    let mut check = Check::default();
    check.explanation("reason", &request.reason);
    let change = Change::new(check, &request.code, &request.campaign_id, &request.request_id)?;
    let return_quota = request.return_quota;
    let operation = |CommandCode { code, campaign_code }, request_id| {
        Operation::VoidCoupon(VoidCouponCommand {
            code,
            request_id,
            reason: request.reason.clone(),
            return_quota,
            campaign_code,
        })
    };
    let (coupon, replayed) = change.make(shards, operation, deadline).await?;
    Ok(VoidCouponResponse { coupon: Some(coupon), replayed })
}
