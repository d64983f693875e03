//! `EndCampaign`.

use coupon_proto::internal::EndCampaignCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{EndCampaignRequest, EndCampaignResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Ends a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn end_campaign(
    shards: &ShardClient,
    request: EndCampaignRequest,
    deadline: Instant,
) -> Result<EndCampaignResponse, Fault> {
    let change = Change::new(&request.campaign_id, &request.request_id)?;
    let request_id = change.request_id();
    let command = EndCampaignCommand { campaign: change.campaign.to_string(), request_id };
    let operation = Operation::EndCampaign(command);
    let (campaign, replayed) = change.make(shards, operation, deadline).await?;
    Ok(EndCampaignResponse { campaign: Some(campaign), replayed })
}
