//! `CreateCampaign` with `validate_only` (AIP-163): a question instead of a command.

use coupon_cluster::CampaignName;
use coupon_proto::internal::{CreateCampaignCommand, read_request};
use coupon_proto::v1::CreateCampaignResponse;
use tokio::time::Instant;

use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::topology::Destination;
use crate::shards::shard_client::ShardClient;

/// What creating a campaign would come to now. Nothing is created.
///
/// # Errors
/// [`Fault`].
pub(super) async fn check_creation(
    shards: &ShardClient,
    campaign: &CampaignName,
    command: CreateCampaignCommand,
    deadline: Instant,
) -> Result<CreateCampaignResponse, Fault> {
    let query = read_request::Query::CheckCreation(command);
    let response = shards.read_from(Destination::Owner(campaign), query, deadline).await?;
    let now = response.log_time_micros;
    let record = response.campaigns.into_iter().next();
    let record = record.ok_or(Fault::Internal("a shard showed no campaign"))?;
    let mut campaign = convert::campaign(record, now);
    if !response.replayed {
        // Another campaign may get it first.
        campaign.numeric_id = 0;
    }
    Ok(CreateCampaignResponse { campaign: Some(campaign), replayed: response.replayed })
}
