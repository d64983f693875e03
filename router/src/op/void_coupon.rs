//! `VoidCoupon`.

use coupon_proto::internal::VoidCouponCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{VoidCouponRequest, VoidCouponResponse};
use tokio::time::Instant;

use super::change_coupon::Change;
use super::check::Check;
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
    let change = Change::new(check, &request.code, &request.request_id)?;
    let return_quota = request.return_quota;
    let operation = |code, request_id| {
        let (code, reason) = (Some(code), request.reason.clone());
        Operation::VoidCoupon(VoidCouponCommand { code, request_id, reason, return_quota })
    };
    let (coupon, replayed) = change.make(shards, operation, deadline).await?;
    Ok(VoidCouponResponse { coupon: Some(coupon), replayed })
}
