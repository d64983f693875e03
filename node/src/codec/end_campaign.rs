//! `EndCampaignCommand`.

use coupon_ledger::{Action, EndCampaign};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(end: &pb::EndCampaignCommand) -> Result<Action, Malformed> {
    Ok(Action::EndCampaign(EndCampaign {
        campaign: campaign_name(&end.campaign)?,
        request_id: request_id(&end.request_id)?,
    }))
}
