//! What was acknowledged is there, unchanged.

use crate::history::Campaign;
use crate::verdict::Findings;

/// Finds answered coupons that are not there, or not as they were answered.
pub(crate) fn find(campaign: &Campaign) -> Findings {
    let mut rows: Vec<_> = campaign.rows.iter().collect();
    rows.sort_unstable();
    let mut findings = Findings::default();
    for answered in &campaign.acknowledged {
        let is_there = rows.binary_search(&answered).is_ok();
        findings.add(campaign, u64::from(!is_there), || {
            let sequence = answered.sequence;
            if campaign.rows.iter().any(|row| row.sequence == sequence) {
                format!("coupon {sequence} is not as it was answered")
            } else {
                format!("coupon {sequence} was answered and is not there")
            }
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::sample::campaign;

    #[test]
    fn a_coupon_that_is_gone_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.rows.pop();
        let verdict = check(&[campaign]);
        assert_eq!((verdict.lost, verdict.gaps), (1, 0), "{verdict}");
        assert!(verdict.violations[0].description.contains("100 was answered and is not there"));
    }

    #[test]
    fn a_coupon_that_changed_is_found() {
        let original = campaign("a", 100);
        let mut holder = original.clone();
        holder.rows[10].recipient = "somebody else".into();
        let mut code = original.clone();
        code.rows[10].code = "another code".into();
        let mut request = original.clone();
        request.rows[10].request_id = 1 << 100;
        for changed in [holder, code, request] {
            let verdict = check(&[changed]);
            assert_eq!(verdict.lost, 1, "{verdict}");
            assert!(verdict.violations[0].description.contains("11 is not as it was answered"));
        }
    }

    #[test]
    fn a_request_answered_with_two_coupons_is_found() {
        let mut campaign = campaign("a", 100);
        let mut again = campaign.acknowledged[5].clone();
        campaign.acknowledged.push(again.clone());
        assert!(check(std::slice::from_ref(&campaign)).is_ok());
        again.sequence = 101;
        campaign.acknowledged.push(again);
        assert_eq!(check(&[campaign]).lost, 1);
    }
}
