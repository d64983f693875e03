//! `ReleaseHold`.

use coupon_proto::internal::ReleaseHoldCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{ReleaseHoldRequest, ReleaseHoldResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use super::change_hold::change_hold;
use super::check::Check;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Releases a hold.
///
/// # Errors
/// [`Fault`].
pub(super) async fn release_hold(
    shards: &ShardClient,
    request: ReleaseHoldRequest,
    deadline: Instant,
) -> Result<ReleaseHoldResponse, Fault> {
    let mut check = Check::default();
    let campaign = check.campaign_id(&request.campaign_id);
    let hold_id = check.hold_id(&request.hold_id);
    let identity = check.request_id(&request.request_id);
    let change = Change::checked(check, campaign, identity)?;
    let hold_id = hold_id.ok_or(Fault::Internal("an id is missing without a violation"))?;
    let operation = Operation::ReleaseHold(ReleaseHoldCommand {
        campaign: change.campaign.to_string(),
        hold_id: hold_id.as_bytes().to_vec(),
        request_id: change.request_id(),
    });
    let (hold, replayed) = change_hold(shards, change, hold_id, operation, deadline).await?;
    Ok(ReleaseHoldResponse { hold: Some(hold), replayed })
}
