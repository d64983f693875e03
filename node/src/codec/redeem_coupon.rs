//! `RedeemCouponCommand`.

use coupon_ledger::{Action, RedeemCoupon};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;

use super::coupon_code;

pub(super) fn from_pb(redeem: pb::RedeemCouponCommand) -> Result<Action, Malformed> {
    Ok(Action::RedeemCoupon(RedeemCoupon {
        code: coupon_code::from_pb(redeem.code.as_ref(), redeem.campaign_code.as_deref())?,
        request_id: request_id(&redeem.request_id)?,
        order_ref: redeem.order_ref,
    }))
}
