//! `GetCampaign`.

use coupon_proto::v1::{GetCampaignRequest, GetCampaignResponse};
use tokio::time::Instant;

use super::check;
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Shows a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn get_campaign(
    shards: &ShardClient,
    request: &GetCampaignRequest,
    deadline: Instant,
) -> Result<GetCampaignResponse, Fault> {
    let campaign = check::campaign_id(&request.campaign_id)?;
    let response = shards.read_campaign(&campaign, deadline).await?;
    let now = response.log_time_micros;
    let record = response.campaigns.into_iter().next();
    let record = record.ok_or(Fault::Internal("a shard showed no campaign"))?;
    Ok(GetCampaignResponse { campaign: Some(convert::campaign(record, now)) })
}
