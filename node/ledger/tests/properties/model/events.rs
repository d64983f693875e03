//! What happened to a campaign, in the order of its revisions.

use coupon_ledger::{CouponChangeKind, HoldState};

use super::*;

/// What made a revision.
pub(crate) enum Happened {
    /// A coupon was issued.
    Issue {
        /// As it was issued.
        coupon: IssuedCoupon,
        /// The request that issued it, or confirmed its hold.
        request_id: RequestId,
        /// The hold that it was.
        hold: Option<Hold>,
    },
    /// Something else.
    Event {
        event: Event,
        /// The coupon that it is about, as it left it.
        coupon: Option<IssuedCoupon>,
    },
}

impl Model {
    /// What happened to a campaign, from its first revision on; `None`: there is no such campaign.
    pub(crate) fn events(&self, campaign: &CampaignName) -> Option<Vec<Happened>> {
        let listed = self.there(campaign)?;
        let (mut coupons, mut changes) = (listed.coupons.iter(), listed.coupon_changes.iter());
        let events = listed.events.iter().cloned().map(|event| {
            let Some(event) = event else { return listed.issue_of(coupons.next().unwrap()) };
            let coupon = matches!(event.kind, EventKind::CouponChanged { .. }).then(|| {
                let CouponChanged { place, made, .. } = changes.next().unwrap();
                IssuedCoupon { state: made.clone(), ..listed.coupons[*place].clone() }
            });
            Happened::Event { event, coupon }
        });
        Some(events.collect())
    }
}

impl Listed {
    pub(super) fn revision(&self) -> u64 {
        self.events.len() as u64
    }

    /// Notes that something made the next revision.
    pub(super) fn note(&mut self, at: LogTime, request_id: RequestId, kind: EventKind) {
        let issued = self.coupons.len() as u64;
        self.events.push(Some(Event { at, request_id, issued, kind }));
    }

    fn issue_of(&self, coupon: &IssuedCoupon) -> Happened {
        let hold = self.hold_with(coupon.coupon.request_id).cloned();
        let request_id = match hold.as_ref().map(|hold| hold.state) {
            Some(HoldState::Confirmed { request_id, .. }) => request_id,
            Some(HoldState::Open | HoldState::Released { .. }) | None => coupon.coupon.request_id,
        };
        let coupon = IssuedCoupon { state: CouponState::Issued, ..coupon.clone() };
        Happened::Issue { coupon, request_id, hold }
    }
}

impl Asked {
    pub(super) fn in_event(&self) -> CouponChangeKind {
        match self.clone() {
            Self::Redeem(order_ref) => CouponChangeKind::Redeem { order_ref },
            Self::Reverse => CouponChangeKind::Reverse,
            Self::Void(reason, return_quota) => CouponChangeKind::Void { reason, return_quota },
        }
    }
}
