//! A recipient never holds more than the campaign's limit.

use crate::findings::Findings;
use crate::history::CouponState;
use crate::index::Index;

/// Finds recipients that hold more than the limit.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    let limit = index.campaign.per_recipient_limit;
    if limit == 0 {
        return findings;
    }
    for coupons in index.holders() {
        let mut coupons = coupons.filter(|coupon| coupon.state != CouponState::Returned);
        let held = coupons.clone().count() as u64;
        // The recipient is not named: verdicts are printed, and recipients are private.
        findings.add(index.campaign, u64::from(held > limit), || {
            let first = coupons.next().map_or(0, |first| first.sequence);
            format!("the holder of coupon {first} holds {held}, the limit is {limit}")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::CouponState;
    use crate::sample::{campaign, history, with_recipient};
    use crate::{Check, check};

    #[test]
    fn a_recipient_with_too_many_is_found() {
        let mut campaign = campaign("a", 100);
        for index in [3, 4] {
            with_recipient(&mut campaign, index, "recipient-3");
        }
        let mut judge = |limit| {
            campaign.per_recipient_limit = limit;
            check(&history([campaign.clone()])).found(Check::Limit)
        };
        assert_eq!((judge(1), judge(2), judge(3), judge(0)), (1, 1, 0, 0));
        campaign.rows[3].state = CouponState::Returned;
        campaign.per_recipient_limit = 2;
        assert_eq!(check(&history([campaign])).found(Check::Limit), 0);
    }
}
