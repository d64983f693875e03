//! What the operations share that make or release a hold.

use coupon_cluster::RequestId;
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::outcome;
use coupon_proto::v1::Hold;
use tokio::time::Instant;

use super::change_campaign::Change;
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Has the owner of the campaign change a hold. Returns the hold, and whether an earlier request of the caller with the
/// same id had changed it.
///
/// # Errors
/// [`Fault`].
pub(super) async fn change_hold(
    shards: &ShardClient,
    change: Change,
    hold_id: RequestId,
    mut operation: Operation,
    deadline: Instant,
) -> Result<(Hold, bool), Fault> {
    let Change { campaign, identity } = change;
    let answered = shards.propose(&campaign, &mut operation, deadline).await;
    let (outcome, topology) = answered.map_err(|fault| identity.judge(fault))?;
    match outcome.outcome {
        Some(outcome::Outcome::HoldChanged(changed)) => {
            let record = changed.hold.ok_or(Fault::Internal("a shard changed no hold"))?;
            let now = changed.log_time_micros;
            let hold = convert::hold(campaign.id().to_owned(), hold_id, record, now);
            Ok((hold, changed.replayed && !identity.generated))
        }
        Some(outcome::Outcome::Refusal(refusal)) => {
            let held = refusal.held.iter();
            let keyed = shards.with_keys(topology.clone(), held, deadline).await;
            Err(Fault::refused(refusal, &keyed.unwrap_or(topology)))
        }
        Some(
            outcome::Outcome::CampaignCreated(_)
            | outcome::Outcome::CampaignChanged(_)
            | outcome::Outcome::CampaignDeleted(_)
            | outcome::Outcome::CouponIssued(_)
            | outcome::Outcome::CouponChanged(_)
            | outcome::Outcome::HoldConfirmed(_)
            | outcome::Outcome::CodesImported(_),
        )
        | None => Err(Fault::another_question()),
    }
}
