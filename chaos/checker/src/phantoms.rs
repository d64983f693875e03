//! Every coupon belongs to a request that was sent.

use crate::history::Campaign;
use crate::verdict::Findings;

/// Finds coupons of requests that nobody sent, or that were answered as refused.
pub(crate) fn find(campaign: &Campaign) -> Findings {
    let mut findings = Findings::default();
    let Some(unanswered) = &campaign.unanswered else { return findings };
    let answered = campaign.acknowledged.iter().map(|answered| answered.request_id);
    let mut asked: Vec<u128> = answered.chain(unanswered.iter().copied()).collect();
    asked.sort_unstable();
    for row in &campaign.rows {
        let was_asked = asked.binary_search(&row.request_id).is_ok();
        findings.add(campaign, u64::from(!was_asked), || {
            format!("nobody asked for coupon {}", row.sequence)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::sample::campaign;

    #[test]
    fn a_coupon_nobody_asked_for_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.acknowledged.pop();
        assert_eq!(check(&[campaign]).phantoms, 1);
    }

    #[test]
    fn a_request_without_an_answer_may_have_issued() {
        let mut campaign = campaign("a", 100);
        let request = campaign.acknowledged.pop().unwrap().request_id;
        campaign.unanswered = Some(vec![request, 12_345_678]);
        assert!(check(&[campaign]).is_ok());
    }

    #[test]
    fn where_others_asked_nothing_is_a_phantom() {
        let mut campaign = campaign("a", 100);
        campaign.acknowledged.clear();
        campaign.unanswered = None;
        assert!(check(&[campaign]).is_ok());
    }
}
