//! What was acknowledged is there, unchanged; and no read counted more than there are.

use crate::findings::{Findings, len};
use crate::history::Outcome;
use crate::index::Index;

/// Finds answered coupons that are not there, or not as they were answered, and reads that counted
/// coupons that are not there.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let mut findings = Findings::default();
    for request in index.requests() {
        for issue in request.issues() {
            let Outcome::Issued { sequence, ref code, .. } = issue.operation.outcome else {
                continue;
            };
            let is_there = request.issued(sequence, code, issue.recipient);
            findings.add(index.campaign, u64::from(!is_there), || {
                if index.has_sequence(sequence) {
                    format!("coupon {sequence} is not as it was answered")
                } else {
                    format!("coupon {sequence} was answered and is not there")
                }
            });
        }
    }
    let there = len(&index.campaign.rows);
    for operation in &index.campaign.operations {
        let Outcome::Counted { issued } = operation.outcome else { continue };
        findings.add(index.campaign, u64::from(issued > there), || {
            format!("a read counted {issued} coupons, {there} are there")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::{Call, Outcome};
    use crate::sample::{after, campaign, history, operation};
    use crate::{Check, check};

    #[test]
    fn a_coupon_that_is_gone_is_found() {
        let mut campaign = campaign("a", 100);
        campaign.rows.pop();
        let verdict = check(&history([campaign]));
        assert_eq!((verdict.found(Check::Lost), verdict.found(Check::Gaps)), (1, 0), "{verdict}");
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
            assert_eq!(verdict.found(Check::Lost), 1, "{verdict}");
            assert!(verdict.violations[0].description.contains("11 is not as it was answered"));
        }
    }

    #[test]
    fn a_read_of_more_than_there_are_is_found() {
        for (issued, expected) in [(100, 0), (101, 1), (u64::MAX, 1)] {
            let mut campaign = campaign("a", 100);
            let read = operation(after(100), Call::Get, Outcome::Counted { issued });
            campaign.operations.push(read);
            assert_eq!(check(&history([campaign])).found(Check::Lost), expected);
        }
    }

    /// Every coupon is of one request, and every call as well. This takes as long as it takes to sort
    /// them; going through all pairs would take minutes.
    #[test]
    fn many_coupons_of_one_request_are_judged_soon() {
        let count = 200_000;
        let mut campaign = campaign("a", count);
        for row in &mut campaign.rows {
            row.request_id = 7;
        }
        for call in &mut campaign.operations {
            if let Call::Issue { request_id, .. } = &mut call.call {
                *request_id = 7;
            }
        }
        let verdict = check(&history([campaign]));
        assert_eq!((verdict.found(Check::Lost), verdict.found(Check::Phantoms)), (0, 0));
        assert_eq!(verdict.found(Check::Repeats), count - 1, "{verdict}");
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
        assert_eq!(check(&history([campaign])).found(Check::Lost), 1);
    }
}
