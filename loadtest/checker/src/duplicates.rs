//! No code is ever given twice, in any campaign.

use crate::findings::Findings;
use crate::history::{Campaign, Coupon, History};
use crate::index::hash;

/// Finds coupons whose code another coupon had before.
pub(crate) fn find(history: &History) -> Findings {
    let mut codes: Vec<(u64, &Campaign, &Coupon)> = history
        .campaigns
        .iter()
        .flat_map(|campaign| campaign.rows.iter().map(move |row| (campaign, row)))
        .map(|(campaign, row)| (hash(&row.code), campaign, row))
        .collect();
    codes.sort_unstable_by(|(one, in_campaign, row), (other, in_another, another)| {
        one.cmp(other)
            .then_with(|| row.code.cmp(&another.code))
            .then_with(|| in_campaign.id.cmp(&in_another.id))
            .then_with(|| row.sequence.cmp(&another.sequence))
    });
    let mut findings = Findings::default();
    for pair in codes.windows(2) {
        let ((first, other, row), (hash, campaign, another)) = (pair[0], pair[1]);
        if first == hash && row.code == another.code {
            findings.add(campaign, 1, || {
                format!(
                    "the code of coupon {} is also that of one in campaign {}",
                    another.sequence, other.id
                )
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::sample::{campaign, history, with_code};
    use crate::{Check, check};

    #[test]
    fn a_code_given_twice_in_a_campaign_is_found() {
        let mut campaign = campaign("a", 10);
        with_code(&mut campaign, 7, "a-3");
        let verdict = check(&history([campaign]));
        assert_eq!(
            (verdict.found(Check::Duplicates), verdict.found(Check::Lost)),
            (1, 0),
            "{verdict}"
        );
    }

    #[test]
    fn a_code_given_in_two_campaigns_is_found() {
        let (one, mut two) = (campaign("a", 10), campaign("b", 10));
        with_code(&mut two, 0, "a-4");
        with_code(&mut two, 9, "a-4");
        let verdict = check(&history([one, two]));
        assert_eq!(
            (verdict.found(Check::Duplicates), verdict.violations.len()),
            (2, 2),
            "{verdict}"
        );
    }
}
