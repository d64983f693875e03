//! Redeeming a coupon.

use coupon_cluster::{Epoch, RequestId};

use crate::entry::Entry;
use crate::mutants::{self, Mutant};
use crate::{Coupon, CouponChangeKind, CouponCode, CouponState, LogTime, Outcome, Refusal, Store};

/// Redeems a coupon. Its campaign may be in any state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedeemCoupon {
    /// The coupon.
    pub code: CouponCode,
    /// Recognises a retry: the same id with the same fields is answered with the same answer.
    pub request_id: RequestId,
    /// For which order, in the words of the caller.
    pub order_ref: String,
}

impl<S: Store> Entry<'_, S> {
    /// Redeems a coupon, if it can be.
    pub(crate) fn redeem_coupon(
        &mut self,
        epoch: Epoch,
        command: RedeemCoupon,
    ) -> Result<Outcome, S::Error> {
        let RedeemCoupon { code, request_id, order_ref } = command;
        let kind = CouponChangeKind::Redeem { order_ref };
        self.change_coupon(epoch, &code, request_id, kind, redemption_refusal)
    }
}

/// Why a coupon cannot be redeemed; `None`: it can. What was done with it tells more than its end, and comes first.
#[must_use]
pub fn redemption_refusal(coupon: &Coupon, state: &CouponState, now: LogTime) -> Option<Refusal> {
    match (state, coupon.expires_at) {
        (CouponState::Voided { at, .. }, _) => Some(Refusal::CouponVoided { at: *at }),
        (CouponState::Redeemed { at, .. }, _) if !mutants::is(Mutant::RedeemedTwice) => {
            Some(Refusal::AlreadyRedeemed { at: *at })
        }
        (CouponState::Issued | CouponState::Redeemed { .. }, Some(end)) if end <= now => {
            Some(Refusal::CouponExpired { end, now })
        }
        (CouponState::Issued | CouponState::Redeemed { .. }, Some(_) | None) => None,
    }
}
