//! `UpdateCampaignCommand`.

use coupon_ledger::{Action, UpdateCampaign};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

use super::{nonzero, time_from_pb};

pub(super) fn from_pb(update: pb::UpdateCampaignCommand) -> Result<Action, Malformed> {
    Ok(Action::UpdateCampaign(UpdateCampaign {
        campaign: campaign_name(&update.campaign)?,
        request_id: request_id(&update.request_id)?,
        etag: update.etag,
        display_name: update.display_name,
        quota: update.quota,
        start: update.start_micros.map(time_from_pb),
        end: update.end_micros.map(time_from_pb),
        labels: update.labels.map(|labels| labels.labels),
        per_recipient_limit: update.per_recipient_limit,
        coupon_ttl_micros: update.coupon_ttl_micros.map(nonzero),
    }))
}
