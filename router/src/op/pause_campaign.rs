//! `PauseCampaign`.

use coupon_proto::internal::PauseCampaignCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{PauseCampaignRequest, PauseCampaignResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Pauses a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn pause_campaign(
    shards: &ShardClient,
    request: PauseCampaignRequest,
    deadline: Instant,
) -> Result<PauseCampaignResponse, Fault> {
    let change = Change::new(&request.campaign_id, &request.request_id)?;
    let request_id = change.request_id();
    let command = PauseCampaignCommand { campaign: change.campaign.to_string(), request_id };
    let operation = Operation::PauseCampaign(command);
    let (campaign, replayed) = change.make(shards, operation, deadline).await?;
    Ok(PauseCampaignResponse { campaign: Some(campaign), replayed })
}
