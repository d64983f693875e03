//! When coupons can have been issued, by all that was answered.
//!
//! Let p(s) be the moment at which coupon s was issued. Every answer bounds such moments:
//!
//! | answer | what it says |
//! |---|---|
//! | coupon s, the first time | invoked ≤ p(s) ≤ returned |
//! | coupon s, replayed | p(s) ≤ returned; if no other call can have issued it, invoked ≤ p(s) |
//! | none, and coupon s is of this request | invoked ≤ p(s) |
//! | k are issued | p(k) ≤ returned, invoked ≤ p(k + 1) |
//! | sold out | p(quota) ≤ returned, by the least quota that may have been in force |
//! | the recipient has reached the limit, with coupon s | p(s) ≤ returned |
//! | the same, and coupon s was issued later to another recipient of this request id | invoked ≤ p(s) |
//! | refused otherwise, and coupon s is of this request and recipient | invoked ≤ p(s) |
//! | redeemed, reversed or voided: coupon s | p(s) ≤ returned |
//!
//! The campaign starts before all coupons and ends after them. "Sold out" can only be said after the
//! start, and "ended" only after the end. What is asked for too late by that is found by
//! [`window`](crate::window); it bounds no coupon.
//!
//! Each answer stands for one moment between its question and its return, at which the number of
//! coupons was in some interval; an upper bound of the interval's first coupon and a lower bound of
//! the one after its last say exactly that there is such a moment. Moments that keep to all bounds and
//! to the order of the sequence numbers exist if and only if no lower bound of a coupon is greater than
//! an upper bound of it or of a later one: p(s) is then the greatest of the lower bounds up to s.

use crate::history::{Call, Operation, Outcome};
use crate::index::Index;
use crate::issue::Issue;
use crate::request::{Asked, Request};

/// When the coupons of a campaign can have been issued, in nanoseconds of the recording.
pub(crate) struct Bounds {
    /// By sequence number; that of 0 is unused.
    moments: Vec<Bound>,
    /// When the campaign has started at the latest, by what was said of it other than with a coupon.
    pub(crate) started: u64,
    /// When the campaign has ended at the latest.
    pub(crate) ended: u64,
}

/// The moments at which a coupon can have been issued.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

const ANY: Bound = Bound { earliest: 0, latest: u64::MAX };

impl Bounds {
    /// Draws the bounds from all answers. What other checks report, as an answer about a coupon that
    /// is not there, says nothing here.
    pub(crate) fn of(index: &Index<'_>) -> Self {
        let moments = vec![ANY; index.campaign.rows.len() + 1];
        let mut bounds = Self { moments, started: u64::MAX, ended: u64::MAX };
        for request in index.requests() {
            bounds.add_request(request, index.campaign.is_complete);
        }
        for operation in &index.campaign.operations {
            bounds.add_answer(operation, index);
        }
        bounds
    }

    /// The coupons in the order of issuance, with their sequence numbers.
    pub(crate) fn coupons(&self) -> impl Iterator<Item = (u64, Bound)> {
        (0..).zip(self.moments.iter().copied()).skip(1)
    }

    fn coupon(&mut self, sequence: u64) -> Option<&mut Bound> {
        let bound = self.moments.get_mut(usize::try_from(sequence).ok()?)?;
        (sequence > 0).then_some(bound)
    }

    /// A coupon was asked for, or not there yet, at a moment.
    fn not_before(&mut self, sequence: u64, moment: u64) {
        if let Some(bound) = self.coupon(sequence) {
            bound.earliest = bound.earliest.max(moment);
        }
    }

    /// A coupon was there at a moment.
    fn not_after(&mut self, sequence: u64, moment: u64) {
        if let Some(bound) = self.coupon(sequence) {
            bound.latest = bound.latest.min(moment);
        }
    }

    /// Bounds the coupon of a request by its questions.
    fn add_request(&mut self, request: Request<'_>, is_complete: bool) {
        if request.rows().next().is_none() {
            return;
        }
        let is_limited =
            |issue: &Issue<'_>| matches!(issue.operation.outcome, Outcome::LimitReached { .. });
        let limited = request.issues().filter(is_limited).map(|issue| issue.operation.invoked);
        let limited = limited.max().unwrap_or(0);
        let by_recipient = request.asked();
        for row in request.rows() {
            let asked = by_recipient.get(&*row.recipient).copied().unwrap_or_default();
            self.not_before(row.sequence, asked_for(asked, is_complete));
            self.not_before(row.sequence, limited.max(asked.refused.unwrap_or(0)));
        }
    }

    /// Bounds what an answer shows.
    fn add_answer(&mut self, operation: &Operation, index: &Index<'_>) {
        let Operation { invoked, returned, call, outcome } = operation;
        match (call, outcome) {
            (Call::Issue { .. }, Outcome::Issued { sequence, .. }) => {
                self.not_after(*sequence, *returned);
            }
            (Call::Issue { .. }, Outcome::SoldOut) => {
                self.started = self.started.min(*returned);
                self.not_after(index.quotas.least(*invoked, *returned), *returned);
            }
            (Call::Issue { .. }, Outcome::Ended) => self.ended = self.ended.min(*returned),
            (Call::Issue { recipient, .. }, Outcome::LimitReached { .. }) => {
                if let Some(last) = index.coupon_at_limit(recipient) {
                    self.not_after(last.sequence, *returned);
                }
            }
            (Call::Get, Outcome::Counted { issued }) => {
                self.not_after(*issued, *returned);
                self.not_before(issued.saturating_add(1), *invoked);
            }
            (
                Call::Redeem { code } | Call::Reverse { code } | Call::Void { code },
                Outcome::Done,
            ) => {
                if let Some(row) = index.with_code(code) {
                    self.not_after(row.sequence, *returned);
                }
            }
            _ => {}
        }
    }
}

/// The earliest question that can have issued a coupon. Where others asked as well, only the answer
/// that says so itself was the first one.
fn asked_for(asked: Asked, is_complete: bool) -> u64 {
    asked.first.or(asked.earliest.filter(|_| is_complete)).unwrap_or(0)
}
