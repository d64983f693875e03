//! `HoldCoupon`.

use coupon_proto::internal::HoldCouponCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{HoldCouponRequest, HoldCouponResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use super::change_hold::change_hold;
use super::check::Check;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Holds a coupon.
///
/// # Errors
/// [`Fault`].
pub(super) async fn hold_coupon(
    shards: &ShardClient,
    request: HoldCouponRequest,
    deadline: Instant,
) -> Result<HoldCouponResponse, Fault> {
    let mut check = Check::default();
    let campaign = check.campaign_id(&request.campaign_id);
    let identity = check.request_id(&request.request_id);
    check.recipient(&request.recipient);
    let ttl_micros = check.hold_ttl(request.ttl.as_ref());
    let change = Change::checked(check, campaign, identity)?;
    let operation = Operation::HoldCoupon(HoldCouponCommand {
        campaign: change.campaign.to_string(),
        recipient: request.recipient,
        request_id: change.request_id(),
        ttl_micros,
    });
    let hold_id = change.identity.id;
    let (hold, replayed) = change_hold(shards, change, hold_id, operation, deadline).await?;
    Ok(HoldCouponResponse { hold: Some(hold), replayed })
}
