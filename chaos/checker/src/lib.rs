//! The judge of recorded histories.
//!
//! Whoever gives load to a cluster records what was answered, reads every campaign back afterwards
//! and hands both to [`check`]. The verdict says what the system promised and did not keep.
//!
//! - Every check is a pure function of the history, in a file of its own, and takes O(n log n) for
//!   n coupons. Together they are the table in [`check`].
//! - A violation is counted once for each coupon, request, recipient or sequence number that shows
//!   it. One fault may show in several checks: a lost coupon usually leaves a gap as well.
//! - Deliberately absent: I/O, clocks and randomness. A saved history gets the same verdict
//!   for ever.
//!
//! Caveat: these checks look at what there is at the end. They do not yet look at the order in
//! time of questions and answers, so that they say nothing about linearizability.

mod duplicates;
mod gaps;
mod history;
mod index;
mod limit;
mod lost;
mod phantoms;
mod quota;
mod repeats;
#[cfg(test)]
mod sample;
mod verdict;

pub use history::{
    Call, Campaign, Coupon, CouponState, Fault, History, Operation, Outcome, Replica,
};
pub use verdict::{Verdict, Violation};

use index::Index;

/// Judges the history of one cluster.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::of(history);
    verdict.count(duplicates::find(history), |verdict| &mut verdict.duplicates);
    for campaign in &history.campaigns {
        let index = Index::of(campaign);
        verdict.count(quota::find_oversold(&index), |verdict| &mut verdict.oversold);
        verdict.count(quota::find_undersold(&index), |verdict| &mut verdict.undersold);
        verdict.count(lost::find(&index), |verdict| &mut verdict.lost);
        verdict.count(phantoms::find(&index), |verdict| &mut verdict.phantoms);
        verdict.count(repeats::find(&index), |verdict| &mut verdict.repeats);
        verdict.count(limit::find(&index), |verdict| &mut verdict.limit_violations);
        verdict.count(gaps::find(&index), |verdict| &mut verdict.gaps);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{campaign, history};

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
        assert_eq!((verdict.lost, verdict.gaps), (1, 1));
    }
}
