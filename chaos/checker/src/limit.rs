//! A recipient never holds more than the campaign's limit.

use crate::findings::{Findings, len};
use crate::index::Index;

/// Finds recipients that hold more than the limit.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    let limit = index.campaign.per_recipient_limit;
    if limit == 0 {
        return findings;
    }
    for coupons in index.holders() {
        let held = len(&coupons);
        // The recipient is not named: verdicts are printed, recipients are nobody else's business.
        findings.add(index.campaign, u64::from(held > limit), || {
            format!(
                "the holder of coupon {} holds {held}, the limit is {limit}",
                coupons[0].sequence
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
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
    }
}
