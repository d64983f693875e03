//! A campaign starts once and ends once, at one moment for all callers.
//!
//! "Not started" is never the answer to a request that was sent after something had been answered that
//! can only be said of a campaign that has started; and what was asked for after "ended" was answered
//! is neither issued nor sold out.

use std::collections::BTreeSet;

use crate::bounds::Bounds;
use crate::findings::Findings;
use crate::history::Outcome;
use crate::index::Index;

/// Finds answers that put the start too late, and coupons and answers that put the end too late.
pub(crate) fn find(index: &Index<'_>, bounds: &Bounds) -> Findings {
    let mut findings = Findings::default();
    let coupons = bounds.coupons().map(|(_, bound)| bound.latest);
    let ended = bounds.ended;
    let started = coupons.fold(bounds.started.min(ended), u64::min);
    for issue in index.issues() {
        let invoked = issue.operation.invoked;
        if issue.operation.outcome == Outcome::NotStarted {
            findings.add(index.campaign, u64::from(invoked > started), || {
                let nanos = invoked - started;
                format!(
                    "answered as not started to a request sent {nanos} ns after its start was seen"
                )
            });
        }
        if issue.operation.outcome == Outcome::SoldOut {
            findings.add(index.campaign, u64::from(invoked > ended), || {
                let nanos = invoked - ended;
                format!("answered as sold out to a request sent {nanos} ns after its end was seen")
            });
        }
    }
    // A hold that was made before the end can be confirmed after it.
    let mut held: Vec<u128> = index.campaign.holds.iter().map(|hold| hold.id).collect();
    held.sort_unstable();
    let of_holds =
        index.rows_by_sequence().filter(|row| held.binary_search(&row.request_id).is_ok());
    let of_holds: BTreeSet<u64> = of_holds.map(|row| row.sequence).collect();
    for (sequence, bound) in bounds.coupons() {
        let is_late = bound.earliest > ended && !of_holds.contains(&sequence);
        findings.add(index.campaign, u64::from(is_late), || {
            let nanos = bound.earliest - ended;
            format!("coupon {sequence} was issued at least {nanos} ns after the end was seen")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::{Campaign, Hold, HoldEnd, Outcome};
    use crate::sample::{CALL_NANOS, after, campaign, history, issue};
    use crate::{Check, check};

    fn window_of(campaign: &Campaign) -> u64 {
        let verdict = check(&history([campaign.clone()]));
        let found = verdict.found(Check::Window);
        assert!(verdict.is_ok() == (found == 0), "other checks found something: {verdict}");
        found
    }

    /// A campaign with one more call, which got nothing.
    fn with(outcome: Outcome, invoked: u64) -> Campaign {
        let mut campaign = campaign("a", 100);
        campaign.quota = if outcome == Outcome::SoldOut { 100 } else { 101 };
        campaign.operations.push(issue(1, "in vain", invoked, outcome));
        campaign
    }

    #[test]
    fn not_started_after_a_coupon_is_found() {
        // The first coupon returns at 3 × CALL_NANOS.
        assert_eq!(window_of(&with(Outcome::NotStarted, 3 * CALL_NANOS)), 0);
        assert_eq!(window_of(&with(Outcome::NotStarted, 3 * CALL_NANOS + 1)), 1);
    }

    #[test]
    fn a_coupon_asked_for_after_the_end_is_found() {
        assert_eq!(window_of(&with(Outcome::Ended, after(100))), 0);
        // Returns just when coupon 100 is asked for, and just before.
        assert_eq!(window_of(&with(Outcome::Ended, after(99) - CALL_NANOS)), 0);
        assert_eq!(window_of(&with(Outcome::Ended, after(99) - CALL_NANOS - 1)), 1);
        assert_eq!(window_of(&with(Outcome::Ended, after(89) - CALL_NANOS - 1)), 11);
    }

    #[test]
    fn a_hold_is_confirmed_after_the_end() {
        let mut campaign = with(Outcome::Ended, after(99) - CALL_NANOS - 1);
        let last = campaign.rows[99].clone();
        campaign.holds.push(Hold {
            id: last.request_id,
            recipient: last.recipient,
            from: 1,
            expires: 3,
            end: HoldEnd::Confirmed { at: 2, until: None },
            confirmations: 1,
            releases: 0,
        });
        assert_eq!(window_of(&campaign), 0);
    }

    #[test]
    fn a_campaign_does_not_sell_out_after_its_end() {
        let mut campaign = with(Outcome::SoldOut, after(200));
        assert_eq!(window_of(&campaign), 0);
        campaign.operations.push(issue(2, "in vain", after(150), Outcome::Ended));
        assert_eq!(window_of(&campaign), 1);
        campaign.operations[100].invoked = after(150);
        assert_eq!(window_of(&campaign), 0);
    }

    #[test]
    fn a_campaign_does_not_start_after_its_end() {
        let mut campaign = Campaign { id: "a".into(), quota: 1, ..Campaign::default() };
        campaign.operations.push(issue(1, "early", after(9), Outcome::NotStarted));
        campaign.operations.push(issue(2, "late", after(9), Outcome::Ended));
        assert_eq!(window_of(&campaign), 0);
        campaign.operations[0].invoked += 2 * CALL_NANOS;
        campaign.operations[0].returned += 2 * CALL_NANOS;
        assert_eq!(window_of(&campaign), 1);
    }
}
