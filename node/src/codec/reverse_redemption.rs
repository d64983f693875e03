//! `ReverseRedemptionCommand`.

use coupon_ledger::{Action, ReverseRedemption};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;

use super::coupon_code;

pub(super) fn from_pb(reverse: &pb::ReverseRedemptionCommand) -> Result<Action, Malformed> {
    Ok(Action::ReverseRedemption(ReverseRedemption {
        code: coupon_code::from_pb(reverse.code.as_ref(), reverse.campaign_code.as_deref())?,
        request_id: request_id(&reverse.request_id)?,
    }))
}
