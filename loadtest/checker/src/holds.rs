//! A hold is confirmed or released once, before it expires; and what is held and issued is never more than there is.
//!
//! Everything here is by log time, which the answers tell: a hold claims quota from the moment at which it was made
//! until it was released or expired, and a coupon until it returned its quota. At one moment of log time several
//! things may happen, in an order that is not known; what ends there is taken to end first. Where every claim is
//! known, the claims of one moment are at most the quota, and those of one recipient at most the limit.

use std::collections::BTreeMap;

use crate::balances;
use crate::findings::Findings;
use crate::history::{Campaign, Hold, HoldEnd};
use crate::index::Index;

/// Finds holds that ended as they must not, moments at which more was claimed than there is, and reads of counters that
/// are wrong.
pub(crate) fn find(index: &Index<'_>) -> Findings {
    let campaign = index.campaign;
    let mut findings = Findings::default();
    for hold in &campaign.holds {
        judge(index, hold, &mut findings);
    }
    judge_claims(campaign, &mut findings);
    balances::judge(campaign, &mut findings);
    findings
}

/// Judges how a hold ended, against the answers and the coupons.
fn judge(index: &Index<'_>, hold: &Hold, findings: &mut Findings) {
    let campaign = index.campaign;
    let Hold { id, expires, end, confirmations, releases, .. } = hold;
    let at = match end {
        HoldEnd::Expired => None,
        HoldEnd::Confirmed { at, .. } | HoldEnd::Released { at } => Some(*at),
    };
    findings.add(campaign, u64::from(at.is_some_and(|at| at >= *expires)), || {
        let late = at.unwrap_or(0).saturating_sub(*expires);
        format!("hold {id:032x} was confirmed or released {late} µs after it had expired")
    });
    findings.add(campaign, (confirmations + releases).saturating_sub(1), || {
        format!("hold {id:032x} was confirmed {confirmations} times and released {releases} times")
    });
    let (is_confirmed, is_released) =
        (matches!(end, HoldEnd::Confirmed { .. }), matches!(end, HoldEnd::Released { .. }));
    let is_lost = (*confirmations > 0 && !is_confirmed) || (*releases > 0 && !is_released);
    findings.add(campaign, u64::from(is_lost), || {
        format!("hold {id:032x} was answered as confirmed or released, and is not")
    });
    let coupons = index.rows_by_sequence().filter(|row| row.request_id == *id);
    let (mut of_hold, mut of_others) = (0_u64, 0_u64);
    for row in coupons {
        if row.recipient == hold.recipient { of_hold += 1 } else { of_others += 1 }
    }
    let is_fine = (of_hold, of_others) == (u64::from(is_confirmed), 0);
    findings.add(campaign, u64::from(!is_fine), || {
        let all = of_hold + of_others;
        format!("hold {id:032x} became {all} coupons, {of_others} of them of another recipient")
    });
}

/// The claims of a campaign: when each begins and when it ends, if it does, and whose it is.
fn claims(campaign: &Campaign) -> impl Iterator<Item = (u64, Option<u64>, &str)> {
    let holds = campaign.holds.iter().map(|hold| {
        let until = match hold.end {
            HoldEnd::Expired => Some(hold.expires),
            HoldEnd::Released { at } => Some(at),
            HoldEnd::Confirmed { until, .. } => until,
        };
        (hold.from, until, &*hold.recipient)
    });
    let coupons = campaign.claims.iter();
    holds.chain(coupons.map(|claim| (claim.from, claim.until, &*claim.recipient)))
}

/// Finds the moments at which there were more claims than the quota or a recipient's limit allow.
fn judge_claims(campaign: &Campaign, findings: &mut Findings) {
    let mut all = Vec::new();
    let mut by_recipient: BTreeMap<&str, Vec<(u64, i64)>> = BTreeMap::new();
    for (from, until, recipient) in claims(campaign) {
        let both = std::iter::once((from, 1)).chain(until.map(|until| (until, -1)));
        for change in both {
            all.push(change);
            if !recipient.is_empty() && campaign.per_recipient_limit > 0 {
                by_recipient.entry(recipient).or_default().push(change);
            }
        }
    }
    let most = greatest_sum(all);
    findings.add(campaign, most.saturating_sub(campaign.quota), || {
        format!("{most} coupons were issued or held at one moment, the quota is {}", campaign.quota)
    });
    for changes in by_recipient.into_values() {
        let most = greatest_sum(changes);
        let limit = campaign.per_recipient_limit;
        // The recipient is not named: verdicts are printed, and recipients are private.
        findings.add(campaign, u64::from(most > limit), || {
            format!("a recipient had {most} coupons and holds at one moment, the limit is {limit}")
        });
    }
}

/// The greatest sum that changes come to, in the order of their times; of those at one time, ends come first.
fn greatest_sum(mut changes: Vec<(u64, i64)>) -> u64 {
    changes.sort_unstable();
    let sums = changes.into_iter().scan(0_i64, |sum, (_, change)| {
        *sum += change;
        Some(*sum)
    });
    sums.max().and_then(|most| u64::try_from(most).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::history::{Campaign, Claim, Hold, HoldEnd};
    use crate::sample::{campaign, history};
    use crate::{Check, check};

    /// A campaign that issued 100 of 101 coupons at moments 1, 2, 3, …, the seventh of them by a hold.
    fn with_hold() -> Campaign {
        let mut campaign = campaign("a", 100);
        campaign.quota = 101;
        let held = campaign.rows.remove(6);
        let claim = |row: &crate::Coupon| Claim {
            recipient: row.recipient.clone(),
            from: row.sequence,
            until: None,
        };
        campaign.claims = campaign.rows.iter().map(claim).collect();
        campaign.holds = vec![Hold {
            id: held.request_id,
            recipient: held.recipient.clone(),
            from: 3,
            expires: 8,
            end: HoldEnd::Confirmed { at: 7, until: None },
            confirmations: 1,
            releases: 0,
        }];
        campaign.rows.push(held);
        campaign
    }

    fn another(number: u128, from: u64, expires: u64, end: HoldEnd) -> Hold {
        let recipient = format!("holder-{number}").into();
        Hold { id: number, recipient, from, expires, end, confirmations: 0, releases: 0 }
    }

    fn holds_of(campaign: &Campaign) -> u64 {
        let verdict = check(&history([campaign.clone()]));
        let found = verdict.found(Check::Holds);
        assert!(verdict.is_ok() == (found == 0), "other checks found something: {verdict}");
        found
    }

    #[test]
    fn a_hold_that_became_a_coupon_is_fine() {
        assert_eq!(holds_of(&with_hold()), 0);
        let mut retried = with_hold();
        retried.holds[0].confirmations = 0;
        assert_eq!(holds_of(&retried), 0);
    }

    #[test]
    fn a_confirmation_after_the_end_is_found() {
        for (expires, expected) in [(9, 0), (8, 0), (7, 1), (6, 1)] {
            let mut campaign = with_hold();
            campaign.holds[0].expires = expires;
            assert_eq!(holds_of(&campaign), expected, "{expires}");
        }
        let mut campaign = with_hold();
        campaign.holds.push(another(1, 3, 8, HoldEnd::Released { at: 8 }));
        assert_eq!(holds_of(&campaign), 1);
    }

    #[test]
    fn a_hold_that_ends_twice_is_found() {
        for (confirmations, releases, expected) in [(2, 0, 1), (1, 1, 2), (0, 1, 1)] {
            let mut campaign = with_hold();
            (campaign.holds[0].confirmations, campaign.holds[0].releases) =
                (confirmations, releases);
            // One that is answered as released and is not counts besides.
            assert_eq!(holds_of(&campaign), expected, "{confirmations} {releases}");
        }
        let mut campaign = with_hold();
        let mut released = another(1, 3, 8, HoldEnd::Released { at: 5 });
        released.releases = 2;
        campaign.holds.push(released);
        assert_eq!(holds_of(&campaign), 1);
    }

    #[test]
    fn a_hold_and_its_coupon_go_together() {
        let mut without_coupon = with_hold();
        without_coupon.holds[0].id += 1;
        assert_eq!(holds_of(&without_coupon), 1);
        let mut of_another = with_hold();
        of_another.holds[0].recipient = "somebody".into();
        assert_eq!(holds_of(&of_another), 1);
        let mut not_confirmed = with_hold();
        not_confirmed.holds[0].end = HoldEnd::Expired;
        // It was answered as confirmed, and there is a coupon.
        assert_eq!(holds_of(&not_confirmed), 2);
        not_confirmed.holds[0].confirmations = 0;
        assert_eq!(holds_of(&not_confirmed), 1);
    }

    #[test]
    fn more_than_the_quota_at_one_moment_is_found() {
        let mut campaign = with_hold();
        // Before the hundredth coupon there is room for one more, and while one is left.
        campaign.holds.push(another(1, 50, 200, HoldEnd::Expired));
        assert_eq!(holds_of(&campaign), 0);
        campaign.holds.push(another(2, 50, 100, HoldEnd::Expired));
        assert_eq!(holds_of(&campaign), 0, "it ends just when the last coupon is issued");
        campaign.holds[2].expires = 101;
        assert_eq!(holds_of(&campaign), 1);
        campaign.holds[2].end = HoldEnd::Released { at: 70 };
        assert_eq!(holds_of(&campaign), 0);
        campaign.holds[2] = another(2, 150, 160, HoldEnd::Expired);
        assert_eq!(holds_of(&campaign), 1);
        campaign.claims[0].until = Some(150);
        assert_eq!(holds_of(&campaign), 0, "a coupon returned its quota");
    }

    #[test]
    fn more_than_the_limit_at_one_moment_is_found() {
        for (from, expires, expected) in [(3, 9, 1), (1, 3, 0), (1, 4, 1), (20, 30, 1)] {
            let mut campaign = with_hold();
            let mut again = another(1, from, expires, HoldEnd::Expired);
            again.recipient = campaign.holds[0].recipient.clone();
            campaign.holds.push(again);
            assert_eq!(holds_of(&campaign), expected, "{from} to {expires}");
        }
    }
}
