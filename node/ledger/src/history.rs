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
    /// The revision of the campaign that it made.
    pub revision: u64,
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

    /// What the coupon was at a revision of its campaign; `None` where later changes have displaced that.
    #[must_use]
    pub fn state_at(&self, revision: u64) -> Option<CouponState> {
        let made = self.changes.iter().rev().find(|made| made.revision <= revision);
        let is_whole = self.changes.len() < CHANGES_REMEMBERED;
        made.map(CouponChange::state).or_else(|| is_whole.then_some(CouponState::Issued))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_what_a_coupon_was_as_far_back_as_it_goes() {
        let mut history = CouponHistory::default();
        assert_eq!(history.state_at(7), Some(CouponState::Issued));
        let redeemed = |revision| CouponChange {
            request_id: RequestId::from_bytes(&u128::from(revision).to_be_bytes()).unwrap(),
            at: LogTime(revision),
            revision,
            kind: CouponChangeKind::Redeem { order_ref: String::new() },
        };
        let reversed =
            |revision| CouponChange { kind: CouponChangeKind::Reverse, ..redeemed(revision) };
        history.push(redeemed(10));
        history.push(reversed(12));
        let state = |history: &CouponHistory, revision| {
            history.state_at(revision).map(|state| state.name().to_owned())
        };
        let states = [9, 10, 11, 12, u64::MAX].map(|revision| state(&history, revision).unwrap());
        assert_eq!(states, ["ISSUED", "REDEEMED", "REDEEMED", "ISSUED", "ISSUED"]);

        for revision in (20..).step_by(2).take(7) {
            history.push(redeemed(revision));
            history.push(reversed(revision + 1));
        }
        assert_eq!(history.changes.len(), CHANGES_REMEMBERED);
        assert_eq!(state(&history, 10).as_deref(), Some("REDEEMED"));
        assert_eq!(state(&history, 9), None, "there may have been others before");
        history.push(redeemed(40));
        assert_eq!(state(&history, 11), None);
        assert_eq!(state(&history, 12).as_deref(), Some("ISSUED"));
    }
}
