//! What was acknowledged is there, unchanged.

use crate::history::{Coupon, Outcome};
use crate::index::{Index, Issue};
use crate::verdict::Findings;

/// Finds answered coupons that are not there, or not as they were answered.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    for request in index.requests() {
        for issue in request.issues() {
            let Outcome::Issued { sequence, .. } = issue.operation.outcome else { continue };
            let is_there = request.rows().any(|row| is_as_answered(row, issue));
            findings.add(index.campaign, u64::from(!is_there), || {
                if index.has_sequence(sequence) {
                    format!("coupon {sequence} is not as it was answered")
                } else {
                    format!("coupon {sequence} was answered and is not there")
                }
            });
        }
    }
    findings
}

/// Whether a row of the same request is what the call was answered with.
fn is_as_answered(row: &Coupon, issue: Issue<'_>) -> bool {
    let Outcome::Issued { sequence, code, .. } = &issue.operation.outcome else { return false };
    row.sequence == *sequence && row.code == *code && *row.recipient == *issue.recipient
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::history::Outcome;
    use crate::sample::{campaign, history};

    #[test]
    fn a_coupon_that_is_gone_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.rows.pop();
        let verdict = check(&history([campaign]));
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
            let verdict = check(&history([changed]));
            assert_eq!(verdict.lost, 1, "{verdict}");
            assert!(verdict.violations[0].description.contains("11 is not as it was answered"));
        }
    }

    #[test]
    fn a_request_answered_with_two_coupons_is_found() {
        let mut campaign = campaign("a", 100);
        let mut again = campaign.operations[5].clone();
        if let Outcome::Issued { replayed, .. } = &mut again.outcome {
            *replayed = true;
        }
        campaign.operations.push(again.clone());
        assert!(check(&history([campaign.clone()])).is_ok());
        if let Outcome::Issued { sequence, .. } = &mut again.outcome {
            *sequence = 101;
        }
        campaign.operations.push(again);
        assert_eq!(check(&history([campaign])).lost, 1);
    }
}
