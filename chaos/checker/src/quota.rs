//! Exactly the quota: never more, and not sold out before.

use crate::history::Campaign;
use crate::verdict::{Findings, len};

/// Finds coupons beyond the quota.
pub(crate) fn find_oversold(campaign: &Campaign) -> Findings {
    let (issued, quota) = (len(&campaign.rows), campaign.quota);
    let mut findings = Findings::default();
    findings.add(campaign, issued.saturating_sub(quota), || {
        format!("{issued} coupons were issued, the quota is {quota}")
    });
    findings
}

/// Finds coupons that are left although an answer said that there are none.
pub(crate) fn find_undersold(campaign: &Campaign) -> Findings {
    let (issued, quota) = (len(&campaign.rows), campaign.quota);
    let left = if campaign.sold_out { quota.saturating_sub(issued) } else { 0 };
    let mut findings = Findings::default();
    findings.add(campaign, left, || format!("answered as sold out after {issued} of {quota}"));
    findings
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::sample::campaign;

    #[test]
    fn a_coupon_too_many_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.quota = 98;
        assert_eq!(check(&[campaign]).oversold, 2);
    }

    #[test]
    fn sold_out_too_early_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.sold_out = true;
        assert!(check(std::slice::from_ref(&campaign)).is_ok());
        campaign.quota = 101;
        assert_eq!(check(std::slice::from_ref(&campaign)).undersold, 1);
        campaign.sold_out = false;
        assert!(check(&[campaign]).is_ok());
    }
}
