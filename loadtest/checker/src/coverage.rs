//! A run proves something only if its faults were in force and coupons were issued all the same.
//!
//! A fault has until it is healed, or until the next one begins, whichever is later; the last one has
//! until the recording ends. In that time at least one coupon must have been answered: a system that
//! keeps all its promises by standing still has not been tested.

use crate::findings::{Findings, len};
use crate::history::{Fault, History, Outcome};
use crate::verdict::Coverage;

/// Finds faults that were not in force, and those without success until they were over.
pub(crate) fn find(history: &History) -> Findings {
    let mut findings = Findings::default();
    let mut faults: Vec<&Fault> = history.faults.iter().collect();
    faults.sort_by_key(|fault| (fault.began, fault.ended));
    let successes = successes(history);
    for (position, fault) in faults.iter().enumerate() {
        let subject = format_args!("fault \"{}\"", fault.name);
        if !fault.in_force {
            findings.add_about(subject, 1, || "it was planned and never in force".to_owned());
            continue;
        }
        if fault.ended < fault.began {
            findings.add_about(subject, 1, || "it was healed before it began".to_owned());
            continue;
        }
        let next = faults[position..].iter().map(|other| other.began).find(|at| *at > fault.began);
        let over = next.map_or(u64::MAX, |next| next.max(fault.ended));
        let meanwhile = between(&successes, fault.began, over);
        findings.add_about(subject, u64::from(meanwhile == 0), || {
            "no coupon was issued while it lasted, nor until the next one".to_owned()
        });
    }
    findings
}

/// Counts what the planned faults met.
pub(crate) fn measure(history: &History) -> Coverage {
    let successes = successes(history);
    let mut in_force: Vec<&Fault> = history.faults.iter().filter(|fault| fault.in_force).collect();
    in_force.sort_by_key(|fault| fault.began);
    let mut acknowledged_meanwhile = 0;
    let mut counted_until = None;
    for fault in &in_force {
        // Faults may overlap; a success is counted once.
        let from = counted_until
            .map_or(fault.began, |until: u64| fault.began.max(until.saturating_add(1)));
        acknowledged_meanwhile += between(&successes, from, fault.ended);
        counted_until = counted_until.max(Some(fault.ended));
    }
    Coverage { planned: len(&history.faults), in_force: len(&in_force), acknowledged_meanwhile }
}

/// When coupons were answered, in order.
fn successes(history: &History) -> Vec<u64> {
    if history.faults.is_empty() {
        return Vec::new();
    }
    let operations = history.campaigns.iter().flat_map(|campaign| &campaign.operations);
    let mut successes: Vec<u64> = operations
        .filter(|operation| matches!(operation.outcome, Outcome::Issued { .. }))
        .map(|operation| operation.returned)
        .collect();
    successes.sort_unstable();
    successes
}

/// How many of some moments in order are between two, both included.
fn between(moments: &[u64], from: u64, until: u64) -> u64 {
    let before = moments.partition_point(|moment| *moment < from);
    let not_after = moments.partition_point(|moment| *moment <= until);
    u64::try_from(not_after.saturating_sub(before)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::history::{Fault, History, Outcome};
    use crate::sample::{CALL_NANOS, after, campaign, history};
    use crate::{Check, Verdict, check};

    /// A fault from before one coupon of the sample to before another.
    fn fault(from: u64, until: u64) -> Fault {
        let name = format!("fault {from}");
        Fault { name, began: after(from - 1), ended: after(until - 1), in_force: true }
    }

    /// A hundred coupons, those from `from` to before `until` without an answer.
    fn with_pause(from: usize, until: usize, faults: Vec<Fault>) -> History {
        let mut campaign = campaign("a", 100);
        for call in &mut campaign.operations[from - 1..until - 1] {
            call.outcome = Outcome::Unknown;
        }
        History { faults, ..history([campaign]) }
    }

    fn coverage_of(history: &History) -> (u64, Verdict) {
        let verdict = check(history);
        let found = verdict.found(Check::Coverage);
        assert!(verdict.is_ok() == (found == 0), "other checks found something: {verdict}");
        (found, verdict)
    }

    #[test]
    fn a_fault_that_was_not_in_force_is_found() {
        let mut history = with_pause(1, 1, vec![fault(10, 20), fault(30, 40)]);
        assert_eq!(coverage_of(&history).0, 0);
        history.faults[1].in_force = false;
        let (found, verdict) = coverage_of(&history);
        assert_eq!((found, verdict.coverage.planned, verdict.coverage.in_force), (1, 2, 1));
    }

    #[test]
    fn a_fault_without_success_is_found() {
        let faults = || vec![fault(10, 20), fault(30, 40)];
        assert_eq!(coverage_of(&with_pause(10, 20, faults())).0, 0, "before the next one");
        assert_eq!(coverage_of(&with_pause(10, 30, faults())).0, 1);
        assert_eq!(coverage_of(&with_pause(30, 40, faults())).0, 0, "before the end");
        assert_eq!(coverage_of(&with_pause(30, 101, faults())).0, 1);
        let overlapping = || vec![fault(10, 40), fault(11, 20)];
        assert_eq!(coverage_of(&with_pause(10, 30, overlapping())).0, 0);
    }

    #[test]
    fn successes_are_counted_while_a_fault_is_in_force() {
        let count = |faults| check(&with_pause(1, 1, faults)).coverage.acknowledged_meanwhile;
        assert_eq!(count(vec![]), 0);
        assert_eq!(count(vec![fault(10, 20), fault(30, 40)]), 20);
        assert_eq!(count(vec![fault(10, 30), fault(20, 40), fault(25, 26)]), 30);
        let brief = Fault { ended: after(9) + CALL_NANOS - 1, ..fault(10, 10) };
        assert_eq!(count(vec![brief]), 0);
    }

    #[test]
    fn a_fault_that_never_ends_is_counted_once() {
        let endless = |from| Fault { ended: u64::MAX, ..fault(from, from) };
        let verdict = check(&with_pause(1, 1, vec![endless(10), endless(20)]));
        assert_eq!(verdict.coverage.acknowledged_meanwhile, 91, "{verdict}");
    }

    #[test]
    fn a_fault_that_ends_before_it_begins_is_found() {
        assert_eq!(coverage_of(&with_pause(1, 1, vec![fault(20, 10)])).0, 1);
    }
}
