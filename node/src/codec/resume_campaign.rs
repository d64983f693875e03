//! `ResumeCampaignCommand`.

use coupon_ledger::{Action, ResumeCampaign};
use coupon_proto::internal as pb;

use super::{Malformed, campaign_id, request_id};

pub(super) fn from_pb(resume: &pb::ResumeCampaignCommand) -> Result<Action, Malformed> {
    Ok(Action::ResumeCampaign(ResumeCampaign {
        campaign: campaign_id(&resume.campaign_id)?,
        request_id: request_id(&resume.request_id)?,
    }))
}
