//! Every coupon belongs to a request that was sent.

use crate::findings::Findings;
use crate::index::Index;

/// Finds coupons of requests that were not sent, or were answered as refused.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    if !index.campaign.is_complete {
        return findings;
    }
    for request in index.requests().filter(|request| request.rows().next().is_some()) {
        let asked = request.asked();
        for row in request.rows() {
            let was_asked =
                asked.get(&*row.recipient).is_some_and(|asked| asked.earliest.is_some());
            findings.add(index.campaign, u64::from(!was_asked), || {
                format!("no request asked for coupon {}", row.sequence)
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::Outcome;
    use crate::sample::{campaign, history};
    use crate::{Check, check};

    #[test]
    fn a_coupon_without_a_request_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.operations.pop();
        assert_eq!(check(&history([campaign])).found(Check::Phantoms), 1);
    }

    #[test]
    fn a_coupon_of_a_refused_request_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.operations[99].outcome = Outcome::Refused;
        assert_eq!(check(&history([campaign])).found(Check::Phantoms), 1);
    }

    #[test]
    fn a_request_without_an_answer_may_have_issued() {
        let mut campaign = campaign("a", 100);
        campaign.operations[99].outcome = Outcome::Unknown;
        assert!(check(&history([campaign])).is_ok());
    }

    #[test]
    fn where_others_asked_nothing_is_a_phantom() {
        let mut campaign = campaign("a", 100);
        campaign.operations.clear();
        campaign.is_complete = false;
        assert!(check(&history([campaign])).is_ok());
    }
}
