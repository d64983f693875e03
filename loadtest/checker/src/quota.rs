//! Exactly the quota: never more, and not sold out before.
//!
//! Where calls changed it, each answer is judged by the quotas that may have been in force meanwhile. How many coupons had
//! returned their quota by then is not known: all that ever did count.

use crate::findings::{Findings, len};
use crate::history::{Call, CouponState, Operation, Outcome};
use crate::index::Index;
use crate::issue::Issue;

/// Finds coupons beyond the quota, and quotas below what counted against them.
pub(crate) fn find_oversold(index: &Index<'_>) -> Findings {
    let issued = len(&index.campaign.rows);
    let rows = index.campaign.rows.iter();
    let returned = rows.filter(|row| row.state == CouponState::Returned).count() as u64;
    let mut findings = Findings::default();
    let last = index.quotas.greatest(u64::MAX, u64::MAX);
    findings.add(index.campaign, issued.saturating_sub(last.saturating_add(returned)), || {
        format!("{issued} coupons were issued, the quota is {last}, and {returned} returned theirs")
    });
    if index.quotas.have_changed() {
        find_too_early(index, returned, &mut findings);
    }
    findings
}

/// Finds coupons that were issued before the quota had room for them, and quotas that had none for coupons that were
/// there.
fn find_too_early(index: &Index<'_>, returned: u64, findings: &mut Findings) {
    for operation in &index.campaign.operations {
        let (invoked, at) = (operation.invoked, operation.returned);
        match (&operation.call, &operation.outcome) {
            (Call::Issue { .. }, Outcome::Issued { sequence, replayed: false, .. }) => {
                let quota = index.quotas.greatest(invoked, at);
                let is_beyond = *sequence > quota.saturating_add(returned);
                findings.add(index.campaign, u64::from(is_beyond), || {
                    format!("coupon {sequence} was issued while the quota was {quota} at most")
                });
            }
            (Call::SetQuota { quota }, Outcome::Done) => {
                let there = index.issues().filter_map(|issue| {
                    let Outcome::Issued { sequence, .. } = issue.operation.outcome else {
                        return None;
                    };
                    (issue.operation.returned < invoked).then_some(sequence)
                });
                let issued = there.max().unwrap_or(0);
                let is_below = issued > quota.saturating_add(returned);
                findings.add(index.campaign, u64::from(is_below), || {
                    format!("the quota was set to {quota} after {issued} coupons were issued")
                });
            }
            _ => {}
        }
    }
}

/// Finds coupons that are left although an answer said that there are none.
pub(crate) fn find_undersold(index: &Index<'_>) -> Findings {
    let issued = len(&index.campaign.rows);
    let is_sold_out = |issue: &Issue<'_>| issue.operation.outcome == Outcome::SoldOut;
    let left = index.issues().filter(is_sold_out).map(|issue| {
        let Operation { invoked, returned, .. } = *issue.operation;
        index.quotas.least(invoked, returned).saturating_sub(issued)
    });
    let left = left.max().unwrap_or(0);
    let mut findings = Findings::default();
    findings.add(index.campaign, left, || {
        format!("answered as sold out after {issued} of {}", issued + left)
    });
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::{Call, Campaign, CouponState, Outcome};
    use crate::sample::{after, campaign, history, issue, operation};
    use crate::{Check, check};

    #[test]
    fn a_coupon_too_many_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.quota = 98;
        assert_eq!(check(&history([campaign.clone()])).found(Check::Oversold), 2);
        campaign.rows[3].state = CouponState::Returned;
        campaign.rows[4].state = CouponState::Voided;
        assert_eq!(check(&history([campaign])).found(Check::Oversold), 1);
    }

    #[test]
    fn sold_out_too_early_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.operations.push(issue(1, "late", after(100), Outcome::SoldOut));
        assert!(check(&history([campaign.clone()])).is_ok());
        campaign.quota = 101;
        assert_eq!(check(&history([campaign.clone()])).found(Check::Undersold), 1);
        campaign.operations.pop();
        assert!(check(&history([campaign])).is_ok());
    }

    /// A campaign whose quota was set to something, when `count` coupons were issued.
    fn with_quota(mut campaign: Campaign, count: u64, quota: u64, outcome: Outcome) -> Campaign {
        campaign.operations.push(operation(after(count), Call::SetQuota { quota }, outcome));
        campaign
    }

    #[test]
    fn a_coupon_before_the_quota_was_raised_is_found() {
        let mut small = campaign("a", 100);
        small.quota = 50;
        let oversold = |at, outcome| {
            let campaign = with_quota(small.clone(), at, 100, outcome);
            check(&history([campaign])).found(Check::Oversold)
        };
        assert_eq!(oversold(50, Outcome::Done), 0);
        assert_eq!(oversold(60, Outcome::Done), 10);
        assert_eq!(oversold(50, Outcome::Unknown), 0);
        assert_eq!(oversold(50, Outcome::Refused), 50);
    }

    #[test]
    fn a_quota_below_what_was_issued_is_found() {
        let judge = |quota, outcome| {
            let campaign = with_quota(campaign("a", 100), 100, quota, outcome);
            check(&history([campaign])).found(Check::Oversold)
        };
        assert_eq!(judge(100, Outcome::Done), 0);
        // Both the call, and the coupon that is beyond the quota in the end.
        assert_eq!(judge(99, Outcome::Done), 2);
        assert_eq!(judge(99, Outcome::Refused), 0);
        assert_eq!(judge(99, Outcome::Unknown), 0);
    }

    #[test]
    fn sold_out_by_a_quota_that_was_not_in_force_is_found() {
        let judge = |at| {
            let mut campaign = campaign("a", 100);
            campaign.quota = 101;
            let mut campaign = with_quota(campaign, 100, 100, Outcome::Done);
            campaign.operations.push(issue(1, "late", after(at), Outcome::SoldOut));
            let verdict = check(&history([campaign]));
            (verdict.found(Check::Undersold), verdict.is_ok())
        };
        assert_eq!(judge(101), (0, true));
        assert_eq!(judge(99), (1, false), "the quota was greater then");
    }
}
