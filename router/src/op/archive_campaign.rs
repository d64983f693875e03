//! `ArchiveCampaign`.

use coupon_proto::internal::ArchiveCampaignCommand;
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::{ArchiveCampaignRequest, ArchiveCampaignResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Archives a campaign that has ended.
///
/// # Errors
/// [`Fault`].
pub(super) async fn archive_campaign(
    shards: &ShardClient,
    request: ArchiveCampaignRequest,
    deadline: Instant,
) -> Result<ArchiveCampaignResponse, Fault> {
    let change = Change::new(&request.campaign_id, &request.request_id)?;
    let request_id = change.request_id();
    let command = ArchiveCampaignCommand { campaign: change.campaign.to_string(), request_id };
    let operation = Operation::ArchiveCampaign(command);
    let (campaign, replayed) = change.make(shards, operation, deadline).await?;
    Ok(ArchiveCampaignResponse { campaign: Some(campaign), replayed })
}
