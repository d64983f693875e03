//! Exactly the quota: never more, and not sold out before.

use crate::findings::{Findings, len};
use crate::history::{CouponState, Outcome};
use crate::index::Index;

/// Finds coupons beyond the quota.
pub(crate) fn find_oversold(index: &Index<'_>) -> Findings {
    let (issued, quota) = (len(&index.campaign.rows), index.campaign.quota);
    let rows = index.campaign.rows.iter();
    let returned = rows.filter(|row| row.state == CouponState::Returned).count() as u64;
    let mut findings = Findings::default();
    findings.add(index.campaign, issued.saturating_sub(quota.saturating_add(returned)), || {
        format!(
            "{issued} coupons were issued, the quota is {quota}, and {returned} returned theirs"
        )
    });
    findings
}

/// Finds coupons that are left although an answer said that there are none.
pub(crate) fn find_undersold(index: &Index<'_>) -> Findings {
    let (issued, quota) = (len(&index.campaign.rows), index.campaign.quota);
    let is_sold_out = index.issues().any(|issue| issue.operation.outcome == Outcome::SoldOut);
    let left = if is_sold_out { quota.saturating_sub(issued) } else { 0 };
    let mut findings = Findings::default();
    findings
        .add(index.campaign, left, || format!("answered as sold out after {issued} of {quota}"));
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::{CouponState, Outcome};
    use crate::sample::{after, campaign, history, issue};
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
}
