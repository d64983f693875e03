//! `DeleteCampaign`.

use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{DeleteCampaignCommand, outcome};
use coupon_proto::v1::{DeleteCampaignRequest, DeleteCampaignResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Deletes an archived campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn delete_campaign(
    shards: &ShardClient,
    request: DeleteCampaignRequest,
    deadline: Instant,
) -> Result<DeleteCampaignResponse, Fault> {
    let change = Change::new(&request.campaign_id, &request.request_id)?;
    let request_id = change.request_id();
    let command = DeleteCampaignCommand { campaign: change.campaign.to_string(), request_id };
    let mut operation = Operation::DeleteCampaign(command);
    let Change { campaign, identity } = change;
    let answered = shards.propose(&campaign, &mut operation, deadline).await;
    let (outcome, topology) = answered.map_err(|fault| identity.judge(fault))?;
    match outcome.outcome {
        Some(outcome::Outcome::CampaignDeleted(deleted)) => {
            Ok(DeleteCampaignResponse { replayed: deleted.replayed && !identity.generated })
        }
        Some(outcome::Outcome::Refusal(refusal)) => Err(Fault::refused(refusal, &topology)),
        Some(
            outcome::Outcome::CampaignCreated(_)
            | outcome::Outcome::CampaignChanged(_)
            | outcome::Outcome::CouponIssued(_)
            | outcome::Outcome::CouponChanged(_)
            | outcome::Outcome::HoldChanged(_)
            | outcome::Outcome::HoldConfirmed(_)
            | outcome::Outcome::CodesImported(_),
        )
        | None => Err(Fault::another_question()),
    }
}
