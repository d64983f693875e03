//! `DeleteCampaignCommand`.

use coupon_ledger::{Action, DeleteCampaign};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(delete: &pb::DeleteCampaignCommand) -> Result<Action, Malformed> {
    Ok(Action::DeleteCampaign(DeleteCampaign {
        campaign: campaign_name(&delete.campaign)?,
        request_id: request_id(&delete.request_id)?,
    }))
}
