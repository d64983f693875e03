//! No code is ever given twice, in any campaign.

use crate::history::Campaign;
use crate::verdict::Findings;

/// Finds coupons whose code another coupon had before.
pub(crate) fn find(campaigns: &[Campaign]) -> Findings {
    let mut codes: Vec<(&str, &Campaign, u64)> = campaigns
        .iter()
        .flat_map(|campaign| campaign.rows.iter().map(move |row| (campaign, row)))
        .map(|(campaign, row)| (&*row.code, campaign, row.sequence))
        .collect();
    // The sort is stable, so that of equal codes the same one is always called the first.
    codes.sort_by_key(|(code, ..)| *code);
    let mut findings = Findings::default();
    for pair in codes.windows(2) {
        let ((first, other, _), (code, campaign, sequence)) = (pair[0], pair[1]);
        if first == code {
            findings.add(campaign, 1, || {
                format!(
                    "the code of coupon {sequence} is also that of one in campaign {}",
                    other.id
                )
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::sample::campaign;

    #[test]
    fn a_code_given_twice_in_a_campaign_is_found() {
        let mut campaign = campaign("a", 10);
        campaign.rows[7].code = campaign.rows[2].code.clone();
        campaign.acknowledged[7].code = campaign.rows[2].code.clone();
        let verdict = check(&[campaign]);
        assert_eq!((verdict.duplicates, verdict.lost), (1, 0), "{verdict}");
    }

    #[test]
    fn a_code_given_in_two_campaigns_is_found() {
        let (one, mut two) = (campaign("a", 10), campaign("b", 10));
        for index in [0, 9] {
            two.rows[index].code = one.rows[3].code.clone();
            two.acknowledged[index].code = one.rows[3].code.clone();
        }
        let verdict = check(&[one, two]);
        assert_eq!((verdict.duplicates, verdict.violations.len()), (2, 2), "{verdict}");
    }
}
