//! `ReverseRedemption`.

use coupon_proto::internal::ReverseRedemptionCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{ReverseRedemptionRequest, ReverseRedemptionResponse};
use tokio::time::Instant;

use super::change_coupon::Change;
use super::check::Check;
use super::code::CommandCode;
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
    let change =
        Change::new(Check::default(), &request.code, &request.campaign_id, &request.request_id)?;
    let operation = |CommandCode { code, campaign_code }, request_id| {
        let command = ReverseRedemptionCommand { code, request_id, campaign_code };
        Operation::ReverseRedemption(command)
    };
    let (coupon, replayed) = change.make(shards, operation, deadline).await?;
    Ok(ReverseRedemptionResponse { coupon: Some(coupon), replayed })
}
