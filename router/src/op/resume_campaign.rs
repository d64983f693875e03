//! `ResumeCampaign`.

use coupon_proto::internal::ResumeCampaignCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{ResumeCampaignRequest, ResumeCampaignResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Resumes a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn resume_campaign(
    shards: &ShardClient,
    request: ResumeCampaignRequest,
    deadline: Instant,
) -> Result<ResumeCampaignResponse, Fault> {
    let change = Change::new(&request.campaign_id, &request.request_id)?;
    let request_id = change.request_id();
    let command = ResumeCampaignCommand { campaign: change.campaign.to_string(), request_id };
    let operation = Operation::ResumeCampaign(command);
    let (campaign, replayed) = change.make(shards, operation, deadline).await?;
    Ok(ResumeCampaignResponse { campaign: Some(campaign), replayed })
}
