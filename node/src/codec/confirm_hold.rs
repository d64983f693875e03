//! `ConfirmHoldCommand`.

use coupon_ledger::{Action, ConfirmHold};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(confirm: pb::ConfirmHoldCommand) -> Result<Action, Malformed> {
    Ok(Action::ConfirmHold(ConfirmHold {
        campaign: campaign_name(&confirm.campaign)?,
        hold_id: request_id(&confirm.hold_id)?,
        request_id: request_id(&confirm.request_id)?,
        metadata: confirm.metadata,
    }))
}
