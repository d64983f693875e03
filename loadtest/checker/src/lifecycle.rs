//! What became of a coupon whose redemption was reversed: its calls in some order, true to time.
//!
//! A coupon is redeemed, that is reversed, and it is redeemed again. So its calls exclude each other only by their order, and that is
//! searched for: whether there is one in which each call does what it was answered, and which leaves the coupon as it was
//! found.

use std::collections::BTreeSet;

use crate::history::{Call, CouponState, Operation, Outcome};

/// Maximum number of calls of a coupon whose order is searched for: there are at most twice as many states as sets of
/// them.
pub(crate) const CALLS_MAX: usize = 16;

/// Whether there is such an order. `others` says that there may have been calls by others, which redeemed or voided it.
pub(crate) fn is_possible(calls: &[&Operation], found: CouponState, others: bool) -> bool {
    if calls.len() > CALLS_MAX {
        return true;
    }
    let mut search = Search { calls, found, others, seen: BTreeSet::new() };
    search.reaches_end(0, State::Issued)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Issued,
    Redeemed,
    Voided,
}

struct Search<'a> {
    calls: &'a [&'a Operation],
    found: CouponState,
    others: bool,
    /// What does not reach the end: which calls happened, a bit for each, and what the coupon is then.
    seen: BTreeSet<(u32, State)>,
}

impl Search<'_> {
    fn reaches_end(&mut self, done: u32, state: State) -> bool {
        let has_happened = |number: usize| done & (1 << number) != 0;
        let mut all = self.calls.iter().enumerate();
        let is_end =
            all.all(|(number, call)| call.outcome != Outcome::Done || has_happened(number));
        let is_found = match self.found {
            CouponState::Issued => state == State::Issued,
            CouponState::Redeemed => state == State::Redeemed,
            CouponState::Voided | CouponState::Returned => state == State::Voided,
        };
        if is_end && is_found {
            return true;
        }
        if !self.seen.insert((done, state)) {
            return false;
        }
        for number in 0..self.calls.len() {
            if !has_happened(number)
                && self.may_be_next(done, number)
                && let Some(after) = after(state, &self.calls[number].call)
                && self.reaches_end(done | (1 << number), after)
            {
                return true;
            }
        }
        // What others did is not recorded. They reverse nothing.
        self.others
            && state == State::Issued
            && [State::Redeemed, State::Voided]
                .into_iter()
                .any(|state| self.reaches_end(done, state))
    }

    /// Whether a call may have been done, and no call that has still to happen returned before it was invoked.
    fn may_be_next(&self, done: u32, number: usize) -> bool {
        let call = self.calls[number];
        let is_before =
            |other: &Operation| other.outcome == Outcome::Done && other.returned < call.invoked;
        let mut others = self.calls.iter().enumerate();
        matches!(call.outcome, Outcome::Done | Outcome::Unknown)
            && others.all(|(number, other)| done & (1 << number) != 0 || !is_before(other))
    }
}

/// What a call that is done makes of a coupon; `None`: it cannot be done.
fn after(state: State, call: &Call) -> Option<State> {
    match (state, call) {
        (State::Issued, Call::Redeem { .. }) => Some(State::Redeemed),
        (State::Redeemed, Call::Reverse { .. }) => Some(State::Issued),
        // A voided coupon may be voided again.
        (State::Issued | State::Voided, Call::Void { .. }) => Some(State::Voided),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::operation;

    fn code() -> Box<str> {
        "a-7".into()
    }

    fn redeem() -> Call {
        Call::Redeem { code: code() }
    }

    fn reverse() -> Call {
        Call::Reverse { code: code() }
    }

    fn void() -> Call {
        Call::Void { code: code() }
    }

    /// Calls one after the other, each answered before the next one.
    fn in_turn(calls: &[(Call, Outcome)]) -> Vec<Operation> {
        let calls = calls.iter().cloned().zip(0..);
        calls.map(|((call, outcome), turn)| operation(turn * 1_000, call, outcome)).collect()
    }

    fn judge(calls: &[(Call, Outcome)], found: CouponState) -> bool {
        let calls = in_turn(calls);
        is_possible(&calls.iter().collect::<Vec<_>>(), found, false)
    }

    #[test]
    fn redemptions_and_reversals_take_turns() {
        use CouponState::{Issued, Redeemed, Voided};
        use Outcome::{Done, Refused, Unknown};
        let twice = [(redeem(), Done), (reverse(), Done), (redeem(), Done)];
        assert!(judge(&twice, Redeemed) && !judge(&twice, Issued));
        assert!(!judge(&[(redeem(), Done), (redeem(), Done), (reverse(), Done)], Redeemed));
        assert!(!judge(&[(reverse(), Done)], Issued));
        assert!(!judge(&[(redeem(), Done), (reverse(), Done), (reverse(), Done)], Issued));
        let perhaps = [(redeem(), Done), (reverse(), Unknown), (redeem(), Done)];
        assert!(judge(&perhaps, Redeemed) && !judge(&perhaps, Issued));
        let refused = [(redeem(), Done), (reverse(), Refused), (redeem(), Done)];
        assert!(!judge(&refused, Redeemed));
        let voided = [(redeem(), Done), (reverse(), Done), (void(), Done), (void(), Done)];
        assert!(judge(&voided, Voided) && !judge(&voided, Issued));
        assert!(!judge(&[(redeem(), Done), (void(), Done), (reverse(), Done)], Voided));
    }

    #[test]
    fn concurrent_calls_may_have_happened_in_any_order() {
        let calls = in_turn(&[(redeem(), Outcome::Done), (redeem(), Outcome::Done)]);
        let mut reversal = operation(0, reverse(), Outcome::Done);
        let calls = |reversal: &Operation| [&calls[..], std::slice::from_ref(reversal)].concat();
        let judge = |reversal: &Operation| {
            let calls = calls(reversal);
            is_possible(&calls.iter().collect::<Vec<_>>(), CouponState::Redeemed, false)
        };
        reversal.returned = 5_000;
        assert!(judge(&reversal));
        reversal.invoked = 2_000;
        assert!(!judge(&reversal), "it came after both redemptions");
    }

    #[test]
    fn others_may_have_redeemed_it_first() {
        let calls = in_turn(&[(reverse(), Outcome::Done)]);
        let calls: Vec<_> = calls.iter().collect();
        assert!(is_possible(&calls, CouponState::Issued, true));
        assert!(!is_possible(&calls, CouponState::Issued, false));
    }
}
