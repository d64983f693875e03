//! `PauseCampaignCommand`.

use coupon_ledger::{Action, PauseCampaign};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(pause: &pb::PauseCampaignCommand) -> Result<Action, Malformed> {
    Ok(Action::PauseCampaign(PauseCampaign {
        campaign: campaign_name(&pause.campaign)?,
        request_id: request_id(&pause.request_id)?,
    }))
}
