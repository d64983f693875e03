//! Sequence numbers are exactly 1 to the number of coupons.
//!
//! Looking for missing numbers finds repeated ones as well: where n coupons have fewer than n
//! numbers, one of 1 to n is missing.

use crate::findings::{Findings, len};
use crate::history::Campaign;
use crate::index::Index;

/// Finds sequence numbers that no coupon has.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let campaign = index.campaign;
    let mut findings = Findings::default();
    let last = len(&campaign.rows);
    let mut expected = 1;
    for row in index.rows_by_sequence() {
        let until = row.sequence.min(last + 1);
        missing(campaign, expected, until, &mut findings);
        expected = expected.max(until.saturating_add(1));
    }
    missing(campaign, expected, last + 1, &mut findings);
    findings
}

/// Counts the numbers from `first` to before `end`.
fn missing(campaign: &Campaign, first: u64, end: u64, findings: &mut Findings) {
    findings.add(campaign, end.saturating_sub(first), || {
        format!("the sequence numbers {first} to {} are missing", end - 1)
    });
}

#[cfg(test)]
mod tests {
    use crate::sample::{campaign, history, with_sequence};
    use crate::{Check, check};

    #[test]
    fn missing_numbers_are_found() {
        let mut campaign = campaign("a", 100);
        campaign.rows.drain(10..13);
        campaign.operations.drain(10..13);
        let verdict = check(&history([campaign]));
        assert_eq!(verdict.found(Check::Gaps), 3, "{verdict}");
        let found = verdict.violations.iter().any(|one| one.description.contains("11 to 13 are"));
        assert!(found, "{verdict}");
    }

    #[test]
    fn a_repeated_number_is_found() {
        let mut campaign = campaign("a", 100);
        with_sequence(&mut campaign, 99, 1);
        assert_eq!(check(&history([campaign])).found(Check::Gaps), 1);
    }

    #[test]
    fn numbers_out_of_range_are_found() {
        for wrong in [0, 102, u64::MAX] {
            let mut campaign = campaign("a", 100);
            with_sequence(&mut campaign, 0, wrong);
            assert_eq!(check(&history([campaign])).found(Check::Gaps), 1, "{wrong}");
        }
    }
}
