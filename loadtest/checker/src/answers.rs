//! The same request gets the same answer, however often it is sent.
//!
//! That goes for coupons: a refusal is not remembered, so that a request that was refused may succeed
//! later. But a request that was answered with a coupon is never refused later, unless it is sent for
//! another recipient. Refusals that name their reason are judged by [`refusals`](crate::refusals) and
//! [`window`](crate::window).

use std::collections::BTreeMap;

use crate::findings::Findings;
use crate::history::Outcome;
use crate::index::Index;
use crate::issue::Issue;
use crate::request::Request;

/// Finds answers that differ from an earlier one to the same request, requests that were twice told
/// to be the first or refused after they had been answered with a coupon, and answers that do not fit their call at all.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    for request in index.requests() {
        let mut answer = None;
        let mut was_first = false;
        for issue in request.issues() {
            let Outcome::Issued { sequence, code, replayed } = &issue.operation.outcome else {
                continue;
            };
            let (first, first_code) = *answer.get_or_insert((sequence, code));
            findings.add(
                index.campaign,
                u64::from((first, first_code) != (sequence, code)),
                || {
                    format!(
                        "request {:032x} was answered with coupon {first} and with {} {sequence}",
                        issue.request_id,
                        if first == sequence { "another code of coupon" } else { "coupon" },
                    )
                },
            );
            findings.add(index.campaign, u64::from(was_first && !replayed), || {
                format!("two answers say that they were the first to issue coupon {sequence}")
            });
            was_first |= !replayed;
        }
        find_refused(&mut findings, index, request);
    }
    for operation in &index.campaign.operations {
        findings.add(index.campaign, u64::from(!operation.is_coherent()), || {
            format!("a call at {} ns has an answer of another kind of call", operation.invoked)
        });
    }
    findings
}

/// Finds calls that were refused although the request had been answered with a coupon before they were
/// sent.
fn find_refused(findings: &mut Findings, index: &Index<'_>, request: Request<'_>) {
    if !request.issues().any(|issue| issue.operation.outcome == Outcome::Refused) {
        return;
    }
    let mut answered: BTreeMap<&str, u64> = BTreeMap::new();
    for Issue { operation, recipient, .. } in request.issues() {
        if matches!(operation.outcome, Outcome::Issued { .. }) {
            let at = answered.entry(recipient).or_insert(u64::MAX);
            *at = operation.returned.min(*at);
        }
    }
    for issue in request.issues().filter(|issue| issue.operation.outcome == Outcome::Refused) {
        let answered = answered.get(issue.recipient).copied().unwrap_or(u64::MAX);
        findings.add(index.campaign, u64::from(issue.operation.invoked > answered), || {
            format!(
                "request {:032x} was refused after it had been answered with a coupon",
                issue.request_id
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::history::{Call, Campaign, Operation, Outcome};
    use crate::sample::{after, campaign, history, issued, operation};
    use crate::{Check, check};

    /// A campaign, and the answer that the request of coupon 6 got again.
    fn asked_again() -> (Campaign, Operation) {
        let campaign = campaign("a", 100);
        let mut again = issued(&campaign.rows[5], after(100));
        again.outcome = Outcome::Issued { sequence: 6, code: "a-6".into(), replayed: true };
        (campaign, again)
    }

    fn answers_of(mut campaign: Campaign, again: Operation) -> u64 {
        campaign.operations.push(again);
        check(&history([campaign])).found(Check::Answers)
    }

    #[test]
    fn another_coupon_or_code_is_found() {
        let (campaign, mut again) = asked_again();
        assert_eq!(answers_of(campaign.clone(), again.clone()), 0);
        again.outcome = Outcome::Issued { sequence: 7, code: "a-6".into(), replayed: true };
        assert_eq!(answers_of(campaign.clone(), again.clone()), 1);
        again.outcome = Outcome::Issued { sequence: 6, code: "a-7".into(), replayed: true };
        assert_eq!(answers_of(campaign, again), 1);
    }

    #[test]
    fn a_coupon_is_issued_for_the_first_time_once() {
        let (campaign, mut again) = asked_again();
        again.outcome = Outcome::Issued { sequence: 6, code: "a-6".into(), replayed: false };
        assert_eq!(answers_of(campaign, again), 1);
    }

    #[test]
    fn a_refusal_after_a_coupon_is_found() {
        let (campaign, mut again) = asked_again();
        again.outcome = Outcome::Refused;
        assert_eq!(answers_of(campaign.clone(), again.clone()), 1);
        let mut before = again.clone();
        before.invoked = campaign.operations[5].returned;
        assert_eq!(answers_of(campaign.clone(), before), 0, "it may have been refused first");
        // The request id was used for somebody else before.
        if let Call::Issue { recipient, .. } = &mut again.call {
            *recipient = "somebody else".into();
        }
        assert_eq!(answers_of(campaign, again), 0);
    }

    #[test]
    fn an_answer_of_another_kind_is_found() {
        let (campaign, _) = asked_again();
        for (call, outcome) in [
            (Call::Get, Outcome::Done),
            (Call::Redeem { code: "a-6".into() }, Outcome::SoldOut),
            (Call::Void { code: "a-6".into() }, Outcome::Counted { issued: 100 }),
            (Call::Issue { request_id: 1, recipient: "r".into() }, Outcome::Done),
        ] {
            let mixed = operation(after(100), call, outcome);
            assert_eq!(answers_of(campaign.clone(), mixed), 1);
        }
    }
}
