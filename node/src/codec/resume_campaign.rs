//! `ResumeCampaignCommand`.

use coupon_ledger::{Action, ResumeCampaign};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(resume: &pb::ResumeCampaignCommand) -> Result<Action, Malformed> {
    Ok(Action::ResumeCampaign(ResumeCampaign {
        campaign: campaign_name(&resume.campaign)?,
        request_id: request_id(&resume.request_id)?,
    }))
}
