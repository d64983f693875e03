//! Voiding a coupon.

use coupon_cluster::{Epoch, RequestId};

use crate::entry::Entry;
use crate::{CouponChangeKind, CouponCode, CouponState, Outcome, Refusal, Store};

/// Cancels a coupon. This cannot be undone. A redeemed one has to be reversed first, because the caller may not know
/// that it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidCoupon {
    /// The coupon.
    pub code: CouponCode,
    /// Recognises a retry.
    pub request_id: RequestId,
    /// Why, in the words of the caller.
    pub reason: String,
    /// Whether another coupon may be issued in its place, to the same recipient as well.
    pub return_quota: bool,
}

impl<S: Store> Entry<'_, S> {
    /// Voids a coupon, unless it is redeemed or voided.
    pub(crate) fn void_coupon(
        &mut self,
        epoch: Epoch,
        command: VoidCoupon,
    ) -> Result<Outcome, S::Error> {
        let VoidCoupon { code, request_id, reason, return_quota } = command;
        let kind = CouponChangeKind::Void { reason, return_quota };
        self.change_coupon(epoch, &code, request_id, kind, |_, state, _| match state {
            CouponState::Issued => None,
            CouponState::Redeemed { at, .. } => Some(Refusal::AlreadyRedeemed { at: *at }),
            CouponState::Voided { at, .. } => Some(Refusal::CouponVoided { at: *at }),
        })
    }
}
