//! Who is refused for good has no coupon, and who is refused for the limit has as many as it may.
//!
//! The order in which a server looks at a request is part of its promise: first whether the request
//! issued a coupon before, then whether the recipient is at the limit, then start and end, and then the
//! quota. So "sold out" and "ended", which are final, are not the answer to a request that has a coupon,
//! nor to a recipient that is at the limit; and a recipient at the limit is told which coupons it holds.

use crate::findings::Findings;
use crate::history::{Coupon, Outcome};
use crate::index::Index;
use crate::issue::Issue;

/// How many codes a refusal for the limit names at most (`coupon_service.proto`, `IssueCoupon`).
const CODES_NAMED_MAX: usize = 10;

/// Finds refusals that what was issued contradicts.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    for request in index.requests() {
        let row = request.rows().next();
        for issue in request.issues() {
            let wrong = match &issue.operation.outcome {
                // It is final only as long as the quota stays as it is.
                Outcome::SoldOut if index.quotas.have_changed() => None,
                Outcome::SoldOut => refused_for_good(index, issue, row, "sold out"),
                Outcome::Ended => refused_for_good(index, issue, row, "ended"),
                Outcome::LimitReached { codes } => refused_for_limit(index, issue, row, codes),
                Outcome::Issued { .. }
                | Outcome::NotStarted
                | Outcome::Counted { .. }
                | Outcome::Done
                | Outcome::Refused
                | Outcome::Unknown => None,
            };
            if let Some(description) = wrong {
                findings.add(index.campaign, 1, || description);
            }
        }
    }
    findings
}

/// What is wrong with the answer that no call gets a coupon any more.
fn refused_for_good(
    index: &Index<'_>,
    issue: Issue<'_>,
    row: Option<&Coupon>,
    answer: &str,
) -> Option<String> {
    if let Some(row) = row {
        return Some(format!("the request of coupon {} was answered as {answer}", row.sequence));
    }
    let last = index.coupon_at_limit(issue.recipient)?;
    Some(format!(
        "the holder of coupon {} is at the limit and was answered as {answer}",
        last.sequence
    ))
}

/// What is wrong with the answer that a recipient is at the limit.
fn refused_for_limit(
    index: &Index<'_>,
    issue: Issue<'_>,
    row: Option<&Coupon>,
    codes: &[Box<str>],
) -> Option<String> {
    let Some(last) = index.coupon_at_limit(issue.recipient) else {
        let held = index.held_by(issue.recipient).len();
        let limit = index.campaign.per_recipient_limit;
        return Some(format!("a holder of {held} coupons was refused for the limit of {limit}"));
    };
    // A request may have been sent for another recipient as well, whose coupon must then be younger.
    // A younger one of the same recipient is beyond the limit, and found as that.
    if let Some(row) = row.filter(|row| row.sequence <= last.sequence) {
        return Some(format!("the request of coupon {} was refused for the limit", row.sequence));
    }
    let mut named: Vec<&str> = codes.iter().map(|code| &**code).collect();
    let mut held: Vec<&str> =
        index.held_by(issue.recipient).take(CODES_NAMED_MAX).map(|row| &*row.code).collect();
    named.sort_unstable();
    held.sort_unstable();
    (named != held).then(|| {
        let (named, held) = (named.len(), held.len());
        format!(
            "the holder of coupon {} was told {named} codes that are not the {held} first ones held",
            last.sequence
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::history::{Campaign, Outcome};
    use crate::sample::{after, campaign, history, issue, with_recipient};
    use crate::{Check, check};

    /// A campaign with one more call, after all others.
    fn refusals_of(campaign: &Campaign, request: u128, recipient: &str, outcome: Outcome) -> u64 {
        let mut campaign = campaign.clone();
        campaign.operations.push(issue(request, recipient, after(100), outcome));
        let verdict = check(&history([campaign]));
        let found = verdict.found(Check::Refusals);
        assert!(verdict.is_ok() == (found == 0), "other checks found something: {verdict}");
        found
    }

    fn limit_reached(codes: &[&str]) -> Outcome {
        Outcome::LimitReached { codes: codes.iter().map(|code| (*code).into()).collect() }
    }

    #[test]
    fn a_holder_is_told_what_it_holds() {
        let judge = |codes: &[&str]| {
            refusals_of(&campaign("a", 100), 1, "recipient-7", limit_reached(codes))
        };
        assert_eq!(judge(&["a-7"]), 0);
        assert_eq!(judge(&["a-8"]), 1);
        assert_eq!(judge(&["a-7", "a-8"]), 1);
        assert_eq!(judge(&["a-7", "a-7"]), 1);
        assert_eq!(judge(&[]), 1);
    }

    #[test]
    fn ten_codes_are_named_the_first_ones() {
        let mut campaign = campaign("a", 100);
        campaign.per_recipient_limit = 12;
        for index in (0..100).filter(|index| index % 8 == 0).take(12) {
            with_recipient(&mut campaign, index, "collector");
        }
        let codes: Vec<String> = (0..13).map(|index| format!("a-{}", index * 8 + 1)).collect();
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        let judge = |codes: &[&str]| refusals_of(&campaign, 1, "collector", limit_reached(codes));
        assert_eq!(judge(&codes[..10]), 0);
        assert_eq!(judge(&codes[..9]), 1);
        assert_eq!(judge(&codes[..11]), 1);
        assert_eq!(judge(&codes[1..11]), 1);
    }

    #[test]
    fn refused_for_the_limit_below_it_is_found() {
        let mut campaign = campaign("a", 100);
        assert_eq!(refusals_of(&campaign, 1, "nobody", limit_reached(&[])), 1);
        campaign.per_recipient_limit = 2;
        assert_eq!(refusals_of(&campaign, 1, "recipient-7", limit_reached(&["a-7"])), 1);
        campaign.per_recipient_limit = 0;
        assert_eq!(refusals_of(&campaign, 1, "recipient-7", limit_reached(&["a-7"])), 1);
    }

    #[test]
    fn refused_for_the_limit_too_early_is_found() {
        let mut campaign = campaign("a", 100);
        let early = issue(1, "recipient-7", after(5), limit_reached(&["a-7"]));
        campaign.operations.push(early);
        assert_eq!(check(&history([campaign])).found(Check::Order), 1);
    }

    #[test]
    fn a_request_with_a_coupon_is_never_refused_for_good() {
        let campaign = campaign("a", 100);
        let request = campaign.rows[6].request_id;
        for outcome in [Outcome::SoldOut, Outcome::Ended, limit_reached(&["a-7"])] {
            assert_eq!(refusals_of(&campaign, request, "recipient-7", outcome), 1);
        }
    }

    #[test]
    fn a_holder_at_the_limit_is_told_so_and_nothing_else() {
        let mut campaign = campaign("a", 100);
        for outcome in [Outcome::SoldOut, Outcome::Ended] {
            campaign.per_recipient_limit = 1;
            assert_eq!(refusals_of(&campaign, 1, "recipient-7", outcome.clone()), 1);
            campaign.per_recipient_limit = 2;
            assert_eq!(refusals_of(&campaign, 1, "recipient-7", outcome), 0);
        }
    }

    #[test]
    fn a_request_of_two_recipients_is_refused_before_its_coupon() {
        let campaign = campaign("a", 100);
        let judge = |row: usize, at: u64| {
            let mut campaign = campaign.clone();
            let request = campaign.rows[row].request_id;
            campaign.operations.push(issue(request, "recipient-7", at, limit_reached(&["a-7"])));
            check(&history([campaign])).is_ok()
        };
        assert!(judge(8, after(7)));
        assert!(!judge(8, after(9)), "the request had a coupon by then");
        assert!(!judge(5, after(6)), "the request had a coupon before the recipient had its own");
    }
}
