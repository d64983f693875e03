//! `UpdateCampaign`.

use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{CampaignLabels, UpdateCampaignCommand};
use coupon_proto::v1::{Campaign, UpdateCampaignRequest, UpdateCampaignResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use super::check::Check;
use super::update_mask::UpdateMask;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Maximum length of an entity tag: two numbers of 64 bits in hexadecimal digits, and a hyphen.
const ETAG_BYTES_MAX: usize = 33;

/// Changes fields of a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn update_campaign(
    shards: &ShardClient,
    request: UpdateCampaignRequest,
    deadline: Instant,
) -> Result<UpdateCampaignResponse, Fault> {
    let (change, command) = update(request)?;
    let operation = Operation::UpdateCampaign(command.into());
    let (campaign, replayed) = change.make(shards, operation, deadline).await?;
    Ok(UpdateCampaignResponse { campaign: Some(campaign), replayed })
}

/// Checks `UpdateCampaign`. Returns which campaign it changes, by which request, and how.
///
/// # Errors
/// [`Fault::Invalid`] with all violations.
fn update(request: UpdateCampaignRequest) -> Result<(Change, UpdateCampaignCommand), Fault> {
    let campaign = request.campaign.unwrap_or_default();
    let mut check = Check::default();
    let mask = UpdateMask::read(&campaign, request.update_mask.as_ref(), &mut check);
    let identity = check.request_id(&request.request_id);
    check.enter("campaign.");
    let name = check.campaign_id(&campaign.campaign_id);
    if campaign.etag.len() > ETAG_BYTES_MAX {
        check.fail("etag", "must be the etag of a campaign, as GetCampaign shows it");
    }
    let fields = fields(&campaign, mask, &mut check);
    let change = Change::checked(check, name, identity)?;
    let command = UpdateCampaignCommand {
        campaign: change.campaign.to_string(),
        request_id: change.request_id(),
        etag: campaign.etag,
        ..fields
    };
    Ok((change, command))
}

/// The fields that a command changes.
fn fields(campaign: &Campaign, mask: UpdateMask, check: &mut Check) -> UpdateCampaignCommand {
    if mask.display_name {
        check.display_name(&campaign.display_name);
    }
    if mask.labels {
        check.labels(&campaign.labels);
    }
    let quota = mask.quota.then(|| check.quota(campaign.quota));
    let start_micros = mask.start_time.then(|| check.start_time(campaign.start_time.as_ref()));
    let start = start_micros.unwrap_or(0);
    let end_micros = mask.end_time.then(|| check.end_time(campaign.end_time.as_ref(), start));
    let limit = campaign.per_recipient_limit;
    let per_recipient_limit = mask.per_recipient_limit.then(|| check.per_recipient_limit(limit));
    let coupon_ttl = campaign.coupon_ttl.as_ref();
    let coupon_ttl_micros = mask.coupon_ttl.then(|| check.coupon_ttl(coupon_ttl));
    UpdateCampaignCommand {
        display_name: mask.display_name.then(|| campaign.display_name.clone()),
        quota,
        start_micros,
        end_micros,
        labels: mask.labels.then(|| CampaignLabels { labels: campaign.labels.clone() }),
        per_recipient_limit,
        coupon_ttl_micros,
        ..Default::default()
    }
}
