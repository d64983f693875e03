//! The slow judge: a search for an order of the calls, after Wing and Gong (1993).
//!
//! It knows the promises as a server that does one thing after the other, and nothing of how the
//! checker judges. The coupons that were found are the last state, so that the n-th coupon issued can
//! only be the n-th of them.

use std::collections::BTreeSet;

use coupon_checker::{Call, Campaign, Coupon, CouponState, Operation, Outcome};

/// How many codes a refusal for the limit names.
const CODES_NAMED_MAX: usize = 10;

/// Whether there is an order of the calls, true to time, in which the server gives these answers and
/// ends with these coupons.
pub(crate) fn is_linearizable(campaign: &Campaign) -> bool {
    let mut found: Vec<&Coupon> = campaign.rows.iter().collect();
    found.sort_by_key(|row| row.sequence);
    let is_numbered = (1..).zip(&found).all(|(number, row)| row.sequence == number);
    let codes: BTreeSet<&str> = found.iter().map(|row| &*row.code).collect();
    if !is_numbered || codes.len() < found.len() {
        return false;
    }
    let states = vec![CouponState::Issued; found.len()];
    let first = State { done: 0, issued: 0, phase: Phase::Before, states };
    let mut search = Search { campaign, found, seen: BTreeSet::new() };
    search.reaches_end(&first)
}

/// The server between two calls.
#[derive(Clone)]
struct State {
    /// Which calls happened, a bit for each.
    done: u32,
    issued: usize,
    phase: Phase,
    states: Vec<CouponState>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Before,
    Within,
    After,
}

struct Search<'a> {
    campaign: &'a Campaign,
    found: Vec<&'a Coupon>,
    /// The states that do not reach the end.
    seen: BTreeSet<(u32, usize, Phase, Vec<u8>)>,
}

impl Search<'_> {
    fn reaches_end(&mut self, state: &State) -> bool {
        if self.is_end(state) {
            return true;
        }
        let states = state.states.iter().map(|state| *state as u8).collect();
        if !self.seen.insert((state.done, state.issued, state.phase, states)) {
            return false;
        }
        let mut next = self.without_calls(state);
        for (number, operation) in (0..).zip(&self.campaign.operations) {
            if state.done & (1 << number) == 0 && self.may_be_next(state, operation) {
                let done = state.done | (1 << number);
                next.extend(self.after(state, operation).map(|after| State { done, ..after }));
            }
        }
        next.iter().any(|state| self.reaches_end(state))
    }

    /// Whether all calls with an answer happened, and the coupons are those that were found.
    fn is_end(&self, state: &State) -> bool {
        let mut calls = (0..).zip(&self.campaign.operations);
        calls.all(|(number, operation)| {
            operation.outcome == Outcome::Unknown || state.done & (1 << number) != 0
        }) && state.issued == self.found.len()
            && self.found.iter().zip(&state.states).all(|(row, state)| row.state == *state)
    }

    /// Whether no call that has still to happen returned before this one was invoked.
    fn may_be_next(&self, state: &State, operation: &Operation) -> bool {
        (0..).zip(&self.campaign.operations).all(|(number, other)| {
            state.done & (1 << number) != 0
                || other.outcome == Outcome::Unknown
                || other.returned >= operation.invoked
        })
    }

    /// The states that follow without a call of the recording.
    fn without_calls(&self, state: &State) -> Vec<State> {
        let mut next = Vec::new();
        match state.phase {
            Phase::Before => next.push(State { phase: Phase::Within, ..state.clone() }),
            Phase::Within => next.push(State { phase: Phase::After, ..state.clone() }),
            Phase::After => {}
        }
        if self.campaign.is_complete {
            return next;
        }
        if let Some(row) = self.found.get(state.issued)
            && let Answer::New = self.answer(state, row.request_id, &row.recipient)
        {
            next.push(State { issued: state.issued + 1, ..state.clone() });
        }
        for place in 0..state.issued {
            for to in [CouponState::Redeemed, CouponState::Voided] {
                next.extend(change(state, place, to));
            }
        }
        next
    }

    /// The state after a call, if its answer is the one that was recorded. A call without an answer
    /// that changes nothing might as well not have happened.
    fn after(&self, state: &State, operation: &Operation) -> Option<State> {
        let is_unknown = operation.outcome == Outcome::Unknown;
        if operation.outcome == Outcome::Refused {
            return (!self.has_coupon(state, &operation.call)).then(|| state.clone());
        }
        match &operation.call {
            Call::Get => (operation.outcome == Outcome::Counted { issued: state.issued as u64 })
                .then(|| state.clone()),
            Call::SetQuota { .. } => None,
            Call::Redeem { code } | Call::Reverse { code } | Call::Void { code } => {
                let to = match operation.call {
                    Call::Redeem { .. } => CouponState::Redeemed,
                    Call::Reverse { .. } => CouponState::Issued,
                    Call::Void { .. } | Call::Issue { .. } | Call::Get | Call::SetQuota { .. } => {
                        CouponState::Voided
                    }
                };
                let place = self.found[..state.issued].iter().position(|row| row.code == *code)?;
                let is_done = is_unknown || operation.outcome == Outcome::Done;
                if !is_done {
                    return None;
                }
                // To void a voided coupon changes nothing and is answered as done.
                let is_again = to == CouponState::Voided && state.states[place] == to;
                if is_again { Some(state.clone()) } else { change(state, place, to) }
            }
            Call::Issue { request_id, recipient } => {
                let answer = self.answer(state, *request_id, recipient);
                if !is_unknown && !self.is_told(state, &answer, &operation.outcome) {
                    return None;
                }
                let issued = state.issued + usize::from(matches!(answer, Answer::New));
                Some(State { issued, ..state.clone() })
            }
        }
    }

    /// Whether a call asks for a coupon that its request has: it gets that one, and no refusal. For
    /// all other calls there are reasons to refuse that the server does not know.
    fn has_coupon(&self, state: &State, call: &Call) -> bool {
        let Call::Issue { request_id, recipient } = call else { return false };
        matches!(self.answer(state, *request_id, recipient), Answer::Again(_))
    }

    /// What the server says to a request for a coupon.
    fn answer(&self, state: &State, request_id: u128, recipient: &str) -> Answer<'_> {
        let rows = &self.found[..state.issued];
        if let Some(row) = rows.iter().find(|row| row.request_id == request_id) {
            let is_same = *row.recipient == *recipient;
            return if is_same { Answer::Again(row) } else { Answer::Otherwise };
        }
        let held: Vec<&str> =
            rows.iter().filter(|row| *row.recipient == *recipient).map(|row| &*row.code).collect();
        let limit = self.campaign.per_recipient_limit;
        if limit > 0 && held.len() as u64 >= limit {
            return Answer::Limit(held);
        }
        match state.phase {
            Phase::Before => Answer::Refusal(Outcome::NotStarted),
            Phase::After => Answer::Refusal(Outcome::Ended),
            Phase::Within if state.issued as u64 >= self.campaign.quota => {
                Answer::Refusal(Outcome::SoldOut)
            }
            Phase::Within => match self.found.get(state.issued) {
                Some(row) if row.request_id == request_id && *row.recipient == *recipient => {
                    Answer::New
                }
                _ => Answer::Otherwise,
            },
        }
    }

    /// Whether an answer of the server is the one that was recorded.
    fn is_told(&self, state: &State, answer: &Answer<'_>, outcome: &Outcome) -> bool {
        match (answer, outcome) {
            (Answer::Again(row), Outcome::Issued { sequence, code, replayed }) => {
                *replayed && row.sequence == *sequence && row.code == *code
            }
            // An attempt of the call may have issued the coupon, and another one got the answer.
            (Answer::New, Outcome::Issued { sequence, code, .. }) => {
                let row = self.found[state.issued];
                row.sequence == *sequence && row.code == *code
            }
            (Answer::Limit(held), Outcome::LimitReached { codes }) => {
                let mut held: Vec<&str> = held.iter().copied().take(CODES_NAMED_MAX).collect();
                let mut named: Vec<&str> = codes.iter().map(|code| &**code).collect();
                held.sort_unstable();
                named.sort_unstable();
                held == named
            }
            (Answer::Refusal(refusal), outcome) => refusal == outcome,
            _ => false,
        }
    }
}

/// What the server says to a request for a coupon.
enum Answer<'a> {
    /// The next coupon.
    New,
    /// The coupon that the request had issued before.
    Again(&'a Coupon),
    /// The recipient is at the limit, with these codes.
    Limit(Vec<&'a str>),
    /// One of the other refusals.
    Refusal(Outcome),
    /// Something that leads to no state that was found, or that is recorded as `Refused`.
    Otherwise,
}

/// The state in which an issued coupon is redeemed or voided, or the redemption of one is reversed.
fn change(state: &State, place: usize, to: CouponState) -> Option<State> {
    let mut after = state.clone();
    let coupon = &mut after.states[place];
    let is_reversal = to == CouponState::Issued;
    let from = if is_reversal { CouponState::Redeemed } else { CouponState::Issued };
    (*coupon == from).then(|| *coupon = to)?;
    Some(after)
}
