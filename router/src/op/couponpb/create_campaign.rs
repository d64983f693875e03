//! `CreateCampaign` of the older API.

use coupon_proto::couponpb::{CreateCampaignRequest, CreateCampaignResponse};
use coupon_proto::v1;
use tokio::time::Instant;

use crate::answer::error::Fault;
use crate::op::create_campaign::create_campaign as create;
use crate::shards::shard_client::ShardClient;

/// Creates a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn create_campaign(
    shards: &ShardClient,
    request: CreateCampaignRequest,
    deadline: Instant,
) -> Result<CreateCampaignResponse, Fault> {
    let CreateCampaignRequest { name, start_time, total_coupons } = request;
    let request = v1::CreateCampaignRequest {
        display_name: name,
        start_time,
        quota: total_coupons,
        ..Default::default()
    };
    let created = create(shards, request, deadline).await.map_err(in_older_words)?;
    let campaign = created.campaign.unwrap_or_default();
    Ok(CreateCampaignResponse { campaign_id: campaign.numeric_id })
}

/// The fault with the fields of the request as the older API names them.
fn in_older_words(mut fault: Fault) -> Fault {
    if let Fault::Invalid(violations) = &mut fault {
        for violation in violations {
            let older = match violation.field.as_str() {
                "display_name" => "name",
                "quota" => "total_coupons",
                _ => continue,
            };
            older.clone_into(&mut violation.field);
        }
    }
    fault
}
