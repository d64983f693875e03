//! A recipient never holds more than the campaign's limit.

use crate::history::Campaign;
use crate::verdict::{Findings, len};

/// Finds recipients that hold more than the limit.
pub(crate) fn find(campaign: &Campaign) -> Findings {
    let mut findings = Findings::default();
    let limit = campaign.per_recipient_limit;
    if limit == 0 {
        return findings;
    }
    let mut recipients: Vec<(&str, u64)> =
        campaign.rows.iter().map(|row| (&*row.recipient, row.sequence)).collect();
    recipients.sort_unstable();
    for coupons in recipients.chunk_by(|(one, _), (other, _)| one == other) {
        let held = len(coupons);
        // The recipient is not named: verdicts are printed, recipients are nobody else's business.
        findings.add(campaign, u64::from(held > limit), || {
            format!("the holder of coupon {} holds {held}, the limit is {limit}", coupons[0].1)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::sample::campaign;

    #[test]
    fn a_recipient_with_too_many_is_found() {
        let mut campaign = campaign("a", 100);
        for index in [3, 4] {
            campaign.rows[index].recipient = campaign.rows[2].recipient.clone();
            campaign.acknowledged[index].recipient = campaign.rows[2].recipient.clone();
        }
        let mut judge = |limit| {
            campaign.per_recipient_limit = limit;
            check(std::slice::from_ref(&campaign)).limit_violations
        };
        assert_eq!((judge(1), judge(2), judge(3), judge(0)), (1, 1, 0, 0));
    }
}
