//! `ReverseRedemption`.

use coupon_proto::internal::ReverseRedemptionCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{ReverseRedemptionRequest, ReverseRedemptionResponse};
use tokio::time::Instant;

use super::change_coupon::Change;
use super::check::Check;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Reverses the redemption of a coupon.
///
/// # Errors
/// [`Fault`].
pub(super) async fn reverse_redemption(
    shards: &ShardClient,
    request: ReverseRedemptionRequest,
    deadline: Instant,
) -> Result<ReverseRedemptionResponse, Fault> {
    let change = Change::new(Check::default(), &request.code, &request.request_id)?;
    let operation = |code, request_id| {
        Operation::ReverseRedemption(ReverseRedemptionCommand { code: Some(code), request_id })
    };
    let (coupon, replayed) = change.make(shards, operation, deadline).await?;
    Ok(ReverseRedemptionResponse { coupon: Some(coupon), replayed })
}
