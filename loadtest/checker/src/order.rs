//! Order in time: the history is linearizable.
//!
//! Coupons are numbered in the order in which they were issued. So no coupon may be seen before a
//! coupon that goes before it can have been issued, nor before it can have been issued itself.
//! [`bounds`](crate::bounds) says why this is all there is to it.

use crate::bounds::Bounds;
use crate::findings::Findings;
use crate::history::Outcome;
use crate::index::Index;

/// Finds coupons that were seen before they, or those before them, can have been issued.
pub(crate) fn find(index: &Index<'_>, bounds: &Bounds) -> Findings {
    let mut findings = Findings::default();
    let (mut last, mut earliest) = (0, 0);
    for (sequence, bound) in bounds.coupons() {
        if bound.earliest > earliest {
            (last, earliest) = (sequence, bound.earliest);
        }
        findings.add(index.campaign, u64::from(bound.latest < earliest), || {
            let nanos = earliest - bound.latest;
            if last == sequence {
                format!("coupon {sequence} was seen {nanos} ns before it can have been issued")
            } else {
                format!(
                    "coupon {sequence} was seen {nanos} ns before coupon {last}, which goes before \
                     it, can have been issued"
                )
            }
        });
    }
    for operation in &index.campaign.operations {
        let is_answered = operation.outcome != Outcome::Unknown;
        let is_reversed = is_answered && operation.returned < operation.invoked;
        findings.add(index.campaign, u64::from(is_reversed), || {
            let (invoked, returned) = (operation.invoked, operation.returned);
            format!("a call returned at {returned} ns, before it was invoked at {invoked} ns")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::{Call, Campaign, Outcome};
    use crate::sample::{CALL_NANOS, after, campaign, history, issue, operation};
    use crate::{Check, check};

    fn order_of(campaign: Campaign) -> u64 {
        let verdict = check(&history([campaign]));
        let found = verdict.found(Check::Order);
        assert!(verdict.is_ok() == (found == 0), "other checks found something: {verdict}");
        found
    }

    fn swap_times(campaign: &mut Campaign, one: usize, other: usize) {
        let calls = &mut campaign.operations;
        let times = |call: &crate::Operation| (call.invoked, call.returned);
        let (first, second) = (times(&calls[one]), times(&calls[other]));
        (calls[one].invoked, calls[one].returned) = second;
        (calls[other].invoked, calls[other].returned) = first;
    }

    #[test]
    fn a_number_that_overtakes_is_found() {
        let mut campaign = campaign("a", 100);
        swap_times(&mut campaign, 4, 5);
        let verdict = check(&history([campaign.clone()]));
        assert!(
            verdict.violations[0].description.contains("coupon 6 was seen 100 ns before coupon 5")
        );
        assert_eq!(order_of(campaign), 1);
    }

    #[test]
    fn concurrent_calls_may_be_answered_in_any_order() {
        let mut campaign = campaign("a", 100);
        for pair in 0..50 {
            swap_times(&mut campaign, 2 * pair, 2 * pair + 1);
            campaign.operations[2 * pair].invoked -= CALL_NANOS;
        }
        assert_eq!(order_of(campaign), 0);
    }

    #[test]
    fn a_stale_read_is_found() {
        for (issued, expected) in [(48, 2), (49, 1), (50, 0), (51, 0), (52, 1), (53, 1)] {
            let mut campaign = campaign("a", 100);
            // The read is sent while coupon 51 is issued.
            let read = operation(51 * 2 * CALL_NANOS + 1, Call::Get, Outcome::Counted { issued });
            campaign.operations.push(read);
            assert_eq!(order_of(campaign), expected, "{issued}");
        }
    }

    #[test]
    fn sold_out_before_the_last_coupon_is_found() {
        for (invoked, expected) in [(after(100), 0), (after(98), 1)] {
            let mut campaign = campaign("a", 100);
            campaign.operations.push(issue(1, "late", invoked, Outcome::SoldOut));
            assert_eq!(order_of(campaign), expected);
        }
    }

    #[test]
    fn a_replayed_answer_has_the_first_question() {
        let mut campaign = campaign("a", 100);
        campaign.operations[20].outcome = Outcome::Unknown;
        let mut again = crate::sample::issued(&campaign.rows[20], after(100));
        again.outcome = Outcome::Issued { sequence: 21, code: "a-21".into(), replayed: true };
        campaign.operations.push(again);
        assert_eq!(order_of(campaign.clone()), 0);
        // Without the first question, all coupons after it were seen too early.
        campaign.operations.remove(20);
        assert_eq!(order_of(campaign.clone()), 79);
        // Unless others may have asked.
        campaign.is_complete = false;
        assert_eq!(order_of(campaign), 0);
    }

    #[test]
    fn a_replay_before_the_first_question_is_found() {
        let mut campaign = campaign("a", 100);
        let mut early = crate::sample::issued(&campaign.rows[20], 0);
        early.outcome = Outcome::Issued { sequence: 21, code: "a-21".into(), replayed: true };
        campaign.operations.push(early);
        assert_eq!(order_of(campaign), 1);
    }

    #[test]
    fn a_coupon_redeemed_before_it_was_issued_is_found() {
        for (invoked, expected) in [(after(100), 0), (3 * CALL_NANOS, 1)] {
            let mut campaign = campaign("a", 100);
            campaign.rows[6].state = crate::CouponState::Redeemed;
            let code = campaign.rows[6].code.clone();
            campaign.operations.push(operation(invoked, Call::Redeem { code }, Outcome::Done));
            assert_eq!(order_of(campaign), expected);
        }
    }

    #[test]
    fn an_answer_before_its_question_is_found() {
        let mut campaign = campaign("a", 10);
        campaign.operations.push(issue(1, "nobody", after(10), Outcome::Refused));
        campaign.operations[10].returned = 0;
        assert_eq!(order_of(campaign.clone()), 1);
        campaign.operations[10].outcome = Outcome::Unknown;
        assert_eq!(order_of(campaign), 0);
    }
}
