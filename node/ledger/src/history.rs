//! What is done with a coupon after it was issued.
//!
//! A coupon's row is never rewritten, since it shares one with its neighbours. Its later life is a row of its own,
//! which most coupons do not have.

use coupon_cluster::RequestId;

use crate::{CouponState, LogTime};

/// How many of its latest changes a coupon remembers. A retry that comes after as many others is taken for a new
/// request.
const CHANGES_REMEMBERED: usize = 16;

/// What was done with a coupon, as far as it is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CouponHistory {
    /// The latest changes, the last one last. The last one says what the coupon is now.
    pub changes: Vec<CouponChange>,
}

/// A request that changed a coupon. Those that were refused are not remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponChange {
    /// The request.
    pub request_id: RequestId,
    /// When, by log time.
    pub at: LogTime,
    /// What it did.
    pub kind: CouponChangeKind,
}

/// What a request does with a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CouponChangeKind {
    /// It redeems the coupon.
    Redeem {
        /// For which order, in the words of the caller.
        order_ref: String,
    },
    /// It reverses a redemption.
    Reverse,
    /// It voids the coupon.
    Void {
        /// Why, in the words of the caller.
        reason: String,
        /// Whether another coupon may be issued in its place.
        return_quota: bool,
    },
}

impl CouponChangeKind {
    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redeem { .. } => "REDEEM",
            Self::Reverse => "REVERSE",
            Self::Void { .. } => "VOID",
        }
    }
}

impl CouponHistory {
    /// What the coupon is now.
    #[must_use]
    pub fn state(&self) -> CouponState {
        self.changes.last().map_or(CouponState::Issued, CouponChange::state)
    }

    /// The change that a request made.
    pub(crate) fn change_of(&self, request_id: RequestId) -> Option<&CouponChange> {
        self.changes.iter().find(|made| made.request_id == request_id)
    }

    /// Adds a change, and forgets the oldest one if there are too many.
    pub(crate) fn push(&mut self, change: CouponChange) {
        self.changes.push(change);
        let forgotten = self.changes.len().saturating_sub(CHANGES_REMEMBERED);
        self.changes.drain(..forgotten);
    }
}

impl CouponChange {
    /// What the change made of the coupon.
    #[must_use]
    pub fn state(&self) -> CouponState {
        let at = self.at;
        match &self.kind {
            CouponChangeKind::Redeem { order_ref } => {
                CouponState::Redeemed { at, order_ref: order_ref.clone() }
            }
            CouponChangeKind::Reverse => CouponState::Issued,
            CouponChangeKind::Void { reason, return_quota } => {
                CouponState::Voided { at, reason: reason.clone(), quota_returned: *return_quota }
            }
        }
    }
}
