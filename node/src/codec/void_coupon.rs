//! `VoidCouponCommand`.

use coupon_ledger::{Action, VoidCoupon};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;

use super::coupon_code;

pub(super) fn from_pb(void: pb::VoidCouponCommand) -> Result<Action, Malformed> {
    Ok(Action::VoidCoupon(VoidCoupon {
        code: coupon_code::from_pb(void.code.as_ref(), void.campaign_code.as_deref())?,
        request_id: request_id(&void.request_id)?,
        reason: void.reason,
        return_quota: void.return_quota,
    }))
}
