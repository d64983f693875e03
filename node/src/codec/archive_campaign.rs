//! `ArchiveCampaignCommand`.

use coupon_ledger::{Action, ArchiveCampaign};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(archive: &pb::ArchiveCampaignCommand) -> Result<Action, Malformed> {
    Ok(Action::ArchiveCampaign(ArchiveCampaign {
        campaign: campaign_name(&archive.campaign)?,
        request_id: request_id(&archive.request_id)?,
    }))
}
