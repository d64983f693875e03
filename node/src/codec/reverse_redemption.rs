//! `ReverseRedemptionCommand`.

use coupon_ledger::{Action, ReverseRedemption};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;

use super::code_number;

pub(super) fn from_pb(reverse: &pb::ReverseRedemptionCommand) -> Result<Action, Malformed> {
    Ok(Action::ReverseRedemption(ReverseRedemption {
        code: code_number::from_pb(reverse.code.as_ref())?,
        request_id: request_id(&reverse.request_id)?,
    }))
}
