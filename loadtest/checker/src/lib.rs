//! The judge of recorded histories.
//!
//! A load test records what was asked and answered, reads every campaign back afterwards and hands
//! both to [`check`]. The verdict says what the system promised and did not keep.
//!
//! - Every check is a pure function of the history, in a file of its own, and takes O(n log n) for
//!   n calls and coupons. Together they are the tables below [`check`].
//! - Together they find something in the calls and coupons of a campaign if and only if these are not
//!   linearizable: if there is no order of the calls, true to time, in which a server that keeps every
//!   promise gives the same answers and ends with the same coupons. `tests/agreement` holds them
//!   against a search for such an order.
//! - A violation is counted once for each coupon, request, call, recipient or sequence number that
//!   shows it. One fault may show in several checks: a lost coupon usually leaves a gap as well.
//! - Every check ends: there is no verdict "unknown".
//! - A recording is a file of lines, see [`mod@file`].
//! - Deliberately absent: I/O, clocks and randomness. A saved history gets the same verdict
//!   for ever.
//!
//! Caveats: the limit is that of the whole recording. Where calls changed the quota, or a coupon has more calls than
//! `lifecycle::CALLS_MAX`, what is found is wrong for sure, but not all that is wrong is found.
//! Holds are judged by log time alone, and by the quota of the recording.

mod answers;
mod balances;
mod bounds;
mod checks;
mod coverage;
mod duplicates;
pub mod file;
mod findings;
mod gaps;
mod history;
mod holds;
mod index;
mod issue;
mod lifecycle;
mod limit;
mod lost;
mod order;
mod phantoms;
mod position;
mod quota;
mod quotas;
mod redemptions;
mod refusals;
mod repeats;
mod replicas;
mod request;
#[cfg(test)]
mod sample;
mod verdict;
mod window;

pub use checks::Check;
pub use history::{
    Balance, Call, Campaign, Claim, Coupon, CouponState, Fault, History, Hold, HoldEnd, Operation,
    Outcome, Replica,
};
pub use verdict::{Coverage, Verdict, Violation};

use bounds::Bounds;
use findings::Findings;
use index::Index;

/// Judges the history of one cluster.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::of(history);
    verdict.coverage = coverage::measure(history);
    for (check, find) in OF_ALL {
        verdict.add(check, find(history));
    }
    for campaign in &history.campaigns {
        let index = Index::of(campaign);
        for (check, find) in OF_A_CAMPAIGN {
            verdict.add(check, find(&index));
        }
        let bounds = Bounds::of(&index);
        for (check, find) in OF_TIME {
            verdict.add(check, find(&index, &bounds));
        }
    }
    verdict
}

type OfAll = fn(&History) -> Findings;
type OfACampaign = fn(&Index<'_>) -> Findings;
type OfTime = fn(&Index<'_>, &Bounds) -> Findings;

/// What is judged of all campaigns at once.
const OF_ALL: [(Check, OfAll); 3] = [
    (Check::Duplicates, duplicates::find),
    (Check::Replicas, replicas::find),
    (Check::Coverage, coverage::find),
];

/// What is judged of a campaign.
const OF_A_CAMPAIGN: [(Check, OfACampaign); 11] = [
    (Check::Oversold, quota::find_oversold),
    (Check::Undersold, quota::find_undersold),
    (Check::Gaps, gaps::find),
    (Check::Limit, limit::find),
    (Check::Lost, lost::find),
    (Check::Phantoms, phantoms::find),
    (Check::Repeats, repeats::find),
    (Check::Answers, answers::find),
    (Check::Refusals, refusals::find),
    (Check::Redemptions, redemptions::find),
    (Check::Holds, holds::find),
];

/// What is judged of the order in which a campaign's calls were asked and answered.
const OF_TIME: [(Check, OfTime); 2] = [(Check::Order, order::find), (Check::Window, window::find)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{campaign, history};

    #[test]
    fn every_check_is_in_one_table() {
        let tables = OF_ALL.map(|(check, _)| check).into_iter();
        let tables = tables.chain(OF_A_CAMPAIGN.map(|(check, _)| check));
        let mut found: Vec<Check> = tables.chain(OF_TIME.map(|(check, _)| check)).collect();
        let mut all = Check::ALL.to_vec();
        for checks in [&mut found, &mut all] {
            checks.sort_by_key(|check| check.name());
        }
        assert_eq!(found, all);
    }

    #[test]
    fn nothing_is_fine() {
        let verdict = check(&History::default());
        assert!(verdict.is_ok());
        assert_eq!(verdict.issued, 0);
    }

    #[test]
    fn a_history_without_faults_is_fine() {
        let verdict = check(&history([campaign("a", 1_000), campaign("b", 10)]));
        assert!(verdict.is_ok(), "{verdict}");
        assert_eq!((verdict.campaigns, verdict.issued, verdict.acknowledged), (2, 1_010, 1_010));
        assert!(verdict.violations.is_empty());
    }

    #[test]
    fn the_order_of_rows_and_answers_does_not_matter() {
        let mut shuffled = campaign("a", 100);
        shuffled.rows.reverse();
        shuffled.operations.rotate_left(37);
        assert!(check(&history([shuffled])).is_ok());
    }

    #[test]
    fn a_lost_coupon_shows_as_such_and_as_a_gap() {
        let mut campaign = campaign("a", 10);
        campaign.rows.remove(4);
        let verdict = check(&history([campaign]));
        assert!(!verdict.is_ok());
        assert_eq!((verdict.found(Check::Lost), verdict.found(Check::Gaps)), (1, 1));
    }
}
