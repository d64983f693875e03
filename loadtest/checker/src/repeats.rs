//! A request issues one coupon, however often it is sent.

use crate::findings::Findings;
use crate::index::Index;

/// Finds coupons of requests that had issued one before.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    for request in index.requests() {
        for (first, again) in request.rows().zip(request.rows().skip(1)) {
            findings.add(index.campaign, 1, || {
                format!("one request issued the coupons {} and {}", first.sequence, again.sequence)
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::sample::{campaign, history};
    use crate::{Check, check};

    #[test]
    fn a_request_that_issued_twice_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.rows[70].request_id = campaign.rows[20].request_id;
        campaign.rows[70].recipient = campaign.rows[20].recipient.clone();
        campaign.per_recipient_limit = 2;
        campaign.operations.remove(70);
        let verdict = check(&history([campaign]));
        assert_eq!(
            (verdict.found(Check::Repeats), verdict.found(Check::Phantoms)),
            (1, 0),
            "{verdict}"
        );
        assert!(verdict.violations[0].description.contains("the coupons 21 and 71"));
    }
}
