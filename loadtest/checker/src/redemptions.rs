//! A coupon is redeemed once or voided, and stays so.
//!
//! At most one redemption of a coupon is answered as done, and none if its voiding is: whichever came
//! second had to be refused, concurrent or not. A voided coupon may be voided again. What was
//! answered as done is found in the coupon's state, and a state belongs to a call that may have led
//! to it. Where a redemption may have been reversed, the order of the calls decides: see [`lifecycle`].

use crate::findings::Findings;
use crate::history::{Call, Coupon, CouponState, Operation, Outcome};
use crate::index::{Index, hash};
use crate::lifecycle;
use crate::position::{numbered, place};

/// Finds redemptions and voidings that exclude each other, did not last, or were not asked for.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let campaign = index.campaign;
    let mut findings = Findings::default();
    let mut calls: Vec<(u64, &str, u32)> = numbered(&campaign.operations)
        .filter_map(|(number, call)| call.code().map(|code| (hash(code), code, number)))
        .collect();
    calls.sort_unstable();
    let mut judged: Vec<u64> = Vec::new();
    for calls in calls.chunk_by(|(_, one, _), (_, other, _)| one == other) {
        let operations = calls.iter().map(|(.., number)| &campaign.operations[place(*number)]);
        let operations: Vec<&Operation> = operations.collect();
        let came_to = CameTo::of(operations.iter().copied());
        let is_reversed = |call: &&Operation| {
            matches!(call.call, Call::Reverse { .. }) && call.outcome != Outcome::Refused
        };
        if let Some(row) = index.with_code(calls[0].1) {
            judged.push(row.sequence);
            if operations.iter().any(is_reversed) {
                judge_order(index, row, &operations, &mut findings);
            } else {
                judge(index, row, came_to, &mut findings);
            }
        } else {
            findings.add(campaign, came_to.done, || {
                "a code that no coupon has was redeemed, reversed or voided".to_owned()
            });
        }
    }
    judged.sort_unstable();
    for row in campaign.rows.iter().filter(|row| row.state != CouponState::Issued) {
        if judged.binary_search(&row.sequence).is_err() {
            judge(index, row, CameTo::default(), &mut findings);
        }
    }
    findings
}

/// What all calls that name one code came to.
#[derive(Clone, Copy, Default)]
struct CameTo {
    /// How many calls were answered as done.
    done: u64,
    /// How many redemptions were answered as done.
    redeemed: u64,
    /// How many voidings were answered as done.
    voided: u64,
    /// Whether a redemption may have happened.
    may_be_redeemed: bool,
    /// Whether a voiding may have happened.
    may_be_voided: bool,
}

impl CameTo {
    fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> Self {
        let mut came_to = Self::default();
        for operation in operations {
            let is_done = operation.outcome == Outcome::Done;
            let may_be_done = is_done || operation.outcome == Outcome::Unknown;
            came_to.done += u64::from(is_done);
            match operation.call {
                Call::Redeem { .. } => {
                    came_to.redeemed += u64::from(is_done);
                    came_to.may_be_redeemed |= may_be_done;
                }
                Call::Void { .. } => {
                    came_to.voided += u64::from(is_done);
                    came_to.may_be_voided |= may_be_done;
                }
                Call::Reverse { .. } | Call::Issue { .. } | Call::Get | Call::SetQuota { .. } => {}
            }
        }
        came_to
    }
}

/// Judges the calls of a coupon whose redemption may have been reversed.
fn judge_order(
    index: &Index<'_>,
    row: &Coupon,
    operations: &[&Operation],
    findings: &mut Findings,
) {
    let is_possible = lifecycle::is_possible(operations, row.state, !index.campaign.is_complete);
    findings.add(index.campaign, u64::from(!is_possible), || {
        format!(
            "coupon {} is {:?}, and no order of its {} redemptions, reversals and voidings leads to that",
            row.sequence,
            row.state,
            operations.len()
        )
    });
}

/// Judges what a coupon's calls came to, among themselves and against its state.
fn judge(index: &Index<'_>, row: &Coupon, came_to: CameTo, findings: &mut Findings) {
    let CameTo { done: _, redeemed, voided, may_be_redeemed, may_be_voided } = came_to;
    let others_may_have = !index.campaign.is_complete;
    let (is_explained, state) = match row.state {
        CouponState::Issued => (redeemed == 0 && voided == 0, "issued"),
        CouponState::Redeemed => (voided == 0 && (may_be_redeemed || others_may_have), "redeemed"),
        CouponState::Voided | CouponState::Returned => {
            (redeemed == 0 && (may_be_voided || others_may_have), "voided")
        }
    };
    let sequence = row.sequence;
    findings.add(index.campaign, redeemed.saturating_sub(1), || {
        format!("coupon {sequence} was redeemed {redeemed} times")
    });
    findings.add(index.campaign, u64::from(redeemed > 0 && voided > 0), || {
        format!("coupon {sequence} was both redeemed and voided")
    });
    findings.add(index.campaign, u64::from(!is_explained), || {
        let answered = match (redeemed, voided) {
            (0, 0) => "no call asked for that",
            (_, 0) => "it was answered as redeemed",
            (0, _) => "it was answered as voided",
            (..) => "it was answered as both redeemed and voided",
        };
        format!("coupon {sequence} is {state}, and {answered}")
    });
}

#[cfg(test)]
mod tests {
    use crate::history::{Call, Campaign, CouponState, Outcome};
    use crate::sample::{after, campaign, history, operation};
    use crate::{Check, check};

    fn redeem() -> Call {
        Call::Redeem { code: "a-7".into() }
    }

    fn void() -> Call {
        Call::Void { code: "a-7".into() }
    }

    /// A campaign whose coupon 7 is found in a state after some calls.
    fn after_calls(state: CouponState, calls: &[(Call, Outcome)]) -> Campaign {
        let mut campaign = campaign("a", 100);
        campaign.rows[6].state = state;
        let calls = calls.iter().cloned().zip(100..);
        let calls = calls.map(|((call, outcome), at)| operation(after(at), call, outcome));
        campaign.operations.extend(calls);
        campaign
    }

    fn redemptions_of(campaign: Campaign) -> u64 {
        let verdict = check(&history([campaign]));
        let found = verdict.found(Check::Redemptions);
        assert!(verdict.is_ok() == (found == 0), "other checks found something: {verdict}");
        found
    }

    #[test]
    fn a_coupon_is_redeemed_or_voided_once() {
        use CouponState::{Issued, Redeemed, Returned, Voided};
        use Outcome::{Done, Refused, Unknown};
        for (state, calls) in [
            (Redeemed, vec![(redeem(), Done), (redeem(), Refused), (void(), Refused)]),
            (Redeemed, vec![(redeem(), Unknown), (void(), Refused)]),
            (Redeemed, vec![(redeem(), Done), (redeem(), Unknown), (void(), Unknown)]),
            (Voided, vec![(void(), Done), (redeem(), Refused), (void(), Done)]),
            (Voided, vec![(void(), Unknown), (redeem(), Unknown)]),
            (Returned, vec![(void(), Done), (redeem(), Refused)]),
            (Issued, vec![(void(), Unknown), (redeem(), Unknown), (redeem(), Refused)]),
        ] {
            assert_eq!(redemptions_of(after_calls(state, &calls)), 0, "{calls:?}");
        }
    }

    #[test]
    fn two_redemptions_are_found() {
        let calls = [(redeem(), Outcome::Done), (redeem(), Outcome::Done)];
        assert_eq!(redemptions_of(after_calls(CouponState::Redeemed, &calls)), 1);
    }

    #[test]
    fn redemption_after_voiding_and_the_reverse_are_found() {
        let calls = [(void(), Outcome::Done), (redeem(), Outcome::Done)];
        // Both exclude each other, and the state is that of one of them only.
        assert_eq!(redemptions_of(after_calls(CouponState::Voided, &calls)), 2);
        assert_eq!(redemptions_of(after_calls(CouponState::Redeemed, &calls)), 2);
    }

    #[test]
    fn what_was_done_lasts() {
        for (state, call) in [
            (CouponState::Issued, redeem()),
            (CouponState::Issued, void()),
            (CouponState::Voided, redeem()),
            (CouponState::Redeemed, void()),
        ] {
            assert_eq!(redemptions_of(after_calls(state, &[(call, Outcome::Done)])), 1);
        }
    }

    #[test]
    fn a_state_without_a_call_is_found() {
        for (state, other) in [(CouponState::Redeemed, void()), (CouponState::Voided, redeem())] {
            for calls in [vec![], vec![(other, Outcome::Unknown)]] {
                let mut campaign = after_calls(state, &calls);
                assert_eq!(redemptions_of(campaign.clone()), 1);
                campaign.is_complete = false;
                assert_eq!(redemptions_of(campaign), 0);
            }
        }
    }

    #[test]
    fn a_redemption_that_was_reversed_may_be_repeated() {
        use Outcome::{Done, Refused, Unknown};
        let reverse = || Call::Reverse { code: "a-7".into() };
        for (outcome, expected) in [(Done, 0), (Unknown, 0), (Refused, 1)] {
            let calls = [(redeem(), Done), (reverse(), outcome), (redeem(), Done)];
            assert_eq!(redemptions_of(after_calls(CouponState::Redeemed, &calls)), expected);
        }
        let lost = [(redeem(), Done), (reverse(), Done)];
        assert_eq!(redemptions_of(after_calls(CouponState::Redeemed, &lost)), 1);
        assert_eq!(redemptions_of(after_calls(CouponState::Issued, &[(reverse(), Done)])), 1);
    }

    #[test]
    fn a_code_that_is_not_there_cannot_be_redeemed() {
        for (outcome, expected) in
            [(Outcome::Done, 1), (Outcome::Refused, 0), (Outcome::Unknown, 0)]
        {
            let mut campaign = campaign("a", 100);
            let call = Call::Redeem { code: "made up".into() };
            campaign.operations.push(operation(after(100), call, outcome));
            assert_eq!(redemptions_of(campaign), expected);
        }
    }
}
