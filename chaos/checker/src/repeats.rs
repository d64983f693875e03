//! A request issues one coupon, however often it is sent.

use crate::history::Campaign;
use crate::verdict::Findings;

/// Finds coupons of requests that had issued one before.
pub(crate) fn find(campaign: &Campaign) -> Findings {
    let mut requests: Vec<(u128, u64)> =
        campaign.rows.iter().map(|row| (row.request_id, row.sequence)).collect();
    requests.sort_unstable();
    let mut findings = Findings::default();
    for pair in requests.windows(2) {
        let ((request, first), (next, sequence)) = (pair[0], pair[1]);
        findings.add(campaign, u64::from(request == next), || {
            format!("one request issued the coupons {first} and {sequence}")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::sample::campaign;

    #[test]
    fn a_request_that_issued_twice_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.rows[70].request_id = campaign.rows[20].request_id;
        campaign.acknowledged.remove(70);
        let verdict = check(&[campaign]);
        assert_eq!(verdict.repeats, 1, "{verdict}");
        assert!(verdict.violations[0].description.contains("the coupons 21 and 71"));
    }
}
