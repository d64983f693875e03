//! `HoldCouponCommand`.

use coupon_cluster::CampaignName;
use coupon_ledger::{Action, HoldCoupon};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;

/// The command; its campaign id has been read.
pub(super) fn from_pb(
    hold: pb::HoldCouponCommand,
    campaign: CampaignName,
) -> Result<Action, Malformed> {
    Ok(Action::HoldCoupon(HoldCoupon {
        campaign,
        recipient: hold.recipient,
        request_id: request_id(&hold.request_id)?,
        ttl_micros: hold.ttl_micros,
    }))
}
