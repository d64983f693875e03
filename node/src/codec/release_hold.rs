//! `ReleaseHoldCommand`.

use coupon_ledger::{Action, ReleaseHold};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(release: &pb::ReleaseHoldCommand) -> Result<Action, Malformed> {
    Ok(Action::ReleaseHold(ReleaseHold {
        campaign: campaign_name(&release.campaign)?,
        hold_id: request_id(&release.hold_id)?,
        request_id: request_id(&release.request_id)?,
    }))
}
