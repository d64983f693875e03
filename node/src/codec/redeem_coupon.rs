//! `RedeemCouponCommand`.

use coupon_ledger::{Action, RedeemCoupon};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;

use super::code_number;

pub(super) fn from_pb(redeem: pb::RedeemCouponCommand) -> Result<Action, Malformed> {
    Ok(Action::RedeemCoupon(RedeemCoupon {
        code: code_number::from_pb(redeem.code.as_ref())?,
        request_id: request_id(&redeem.request_id)?,
        order_ref: redeem.order_ref,
    }))
}
