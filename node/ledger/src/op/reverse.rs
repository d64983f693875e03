//! Reversing a redemption.

use coupon_cluster::{Epoch, RequestId};

use crate::entry::Entry;
use crate::{CouponChangeKind, CouponCode, CouponState, Outcome, Refusal, Store};

/// Makes a redeemed coupon unused again, also after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReverseRedemption {
    /// The coupon.
    pub code: CouponCode,
    /// Recognises a retry.
    pub request_id: RequestId,
}

impl<S: Store> Entry<'_, S> {
    /// Reverses the redemption of a coupon, if it is redeemed.
    pub(crate) fn reverse_redemption(
        &mut self,
        epoch: Epoch,
        command: &ReverseRedemption,
    ) -> Result<Outcome, S::Error> {
        let ReverseRedemption { code, request_id } = command;
        let kind = CouponChangeKind::Reverse;
        self.change_coupon(epoch, code, *request_id, kind, |_, state, _| match state {
            CouponState::Redeemed { .. } => None,
            CouponState::Issued | CouponState::Voided { .. } => Some(Refusal::NotRedeemed),
        })
    }
}
