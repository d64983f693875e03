//! What happened when a fault was put in force, and what it did to those who wanted coupons. Pure.
//!
//! Times are nanoseconds of the clock of the recording.

use coupon_checker::Fault;
use serde::Serialize;

use crate::calls::{Asked, Ending};
use crate::kind::{Kind, Measure};
use crate::plan::fault_name;
use crate::recovery::{Gap, Successes};

/// A fault that was to be put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When its script was called.
    pub called: u64,
    /// When it was in force.
    pub began: u64,
    /// When everything that was down was started again; `None` if nothing was down.
    pub started: Option<u64>,
    /// When everything was healed and every shard had a leader again.
    pub healed: u64,
    /// When the next script was called, or the load ended.
    pub until: u64,
}

/// A fault and what came of putting it in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its place in the plan, from 1.
    pub number: usize,
    /// Its kind.
    pub kind: Kind,
    /// The shard that was hit.
    pub shard: Option<u32>,
    /// The router that was cut off from it.
    pub router: Option<u64>,
    /// Who was hit.
    pub targets: Vec<String>,
    /// When.
    pub times: Times,
    /// Why it was not in force; `None` if it was.
    pub why_not: Option<String>,
    /// The shards that did not issue again in time after it was healed.
    pub standing_still: Vec<u32>,
}

/// What a fault did. *Meanwhile* is from when it was in force until the next script was called. A call
/// that was under way during several faults counts for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// How long the shard that was hit, or the slowest of all, took to issue again. `None` where that
    /// is not measured, and where it never did.
    pub recovery: Option<u64>,
    /// The longest time in which a shard issued nothing, from the call of the script to the call of
    /// the next one.
    pub gap: Option<Gap>,
    /// Calls under way meanwhile that were refused for no reason that the API promises.
    pub failed: u64,
    /// Calls under way meanwhile whose outcome is not known.
    pub unknown: u64,
    /// Calls under way meanwhile that had to be sent more than once.
    pub repeated: u64,
    /// The longest of the calls under way meanwhile.
    pub slowest: u64,
}

impl Incident {
    /// As the checker knows it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let Times { began, healed, .. } = self.times;
        Fault {
            name: fault_name(self.number, self.kind, self.shard),
            began,
            ended: healed,
            in_force: self.why_not.is_none(),
        }
    }

    /// How long the shard that was hit, or the slowest of all, took to issue again; where a router was
    /// cut off, through that router.
    #[must_use]
    pub fn recovery(&self, successes: &Successes) -> Option<u64> {
        let Times { began, started, .. } = self.times;
        match self.kind.measure() {
            Measure::Recovery => successes.recovery(self.shard?, self.router, began),
            Measure::Restart => successes.slowest_recovery(started?).map(|(_, nanos)| nanos),
            Measure::Gap => None,
        }
    }
}

/// The effects of incidents, which are in the order of their times.
#[must_use]
pub fn effects(incidents: &[Incident], successes: &Successes, calls: &[Asked]) -> Vec<Effect> {
    let of = |incident: &Incident| Effect {
        recovery: incident.recovery(successes),
        gap: successes.longest_gap(incident.times.called, incident.times.until),
        ..Effect::default()
    };
    let mut effects: Vec<Effect> = incidents.iter().map(of).collect();
    for call in calls {
        // Incidents do not overlap, so that those of a call are side by side.
        let first = incidents.partition_point(|one| one.times.until <= call.sent);
        let later = incidents.iter().zip(&mut effects).skip(first);
        for (_, effect) in later.take_while(|(one, _)| one.times.began <= call.returned) {
            effect.failed += u64::from(call.ending == Ending::Failed);
            effect.unknown += u64::from(call.ending == Ending::Unknown);
            effect.repeated += u64::from(call.attempts > 1);
            effect.slowest = effect.slowest.max(call.returned.saturating_sub(call.sent));
        }
    }
    effects
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::recovery::Success;

    pub(crate) fn incident(number: usize, kind: Kind, called: u64) -> Incident {
        let times = Times {
            called,
            began: called + 5,
            started: Some(called + 20),
            healed: called + 50,
            until: called + 100,
        };
        Incident {
            number,
            kind,
            shard: Some(1),
            router: None,
            targets: vec!["node-1".to_owned()],
            times,
            why_not: None,
            standing_still: Vec::new(),
        }
    }

    fn call(invoked: u64, returned: u64, attempts: u32, ending: Ending) -> Asked {
        Asked { shard: 1, router: 1, sent: invoked, invoked, returned, attempts, ending }
    }

    fn issued(invoked: u64) -> (u32, Success) {
        (1, Success { invoked, returned: invoked + 2, router: 1 })
    }

    #[test]
    fn calls_count_for_every_incident_that_they_overlap() {
        let incidents = [incident(1, Kind::KillLeader, 100), incident(2, Kind::Loss, 200)];
        let successes = Successes::of([1], [90, 110, 150, 190, 204, 240, 290].map(issued));
        let calls = [
            call(90, 104, 9, Ending::Failed),
            call(99, 190, 2, Ending::Unknown),
            call(100, 130, 1, Ending::Unknown),
            call(199, 299, 3, Ending::Failed),
            call(200, 210, 1, Ending::Refused),
            call(299, 320, 2, Ending::Issued),
            call(300, 900, 9, Ending::Failed),
        ];
        let found = effects(&incidents, &successes, &calls);
        let gap = |nanos| Some(Gap { shard: 1, nanos });
        let first = Effect {
            recovery: Some(7),
            gap: gap(40),
            failed: 1,
            unknown: 2,
            repeated: 2,
            slowest: 100,
        };
        assert_eq!(found[0], first);
        let second = Effect {
            recovery: None,
            gap: gap(50),
            failed: 1,
            unknown: 0,
            repeated: 2,
            slowest: 100,
        };
        assert_eq!(found[1], second);
    }

    #[test]
    fn a_router_that_was_cut_off_has_to_answer_itself() {
        let cut = Incident { router: Some(2), ..incident(1, Kind::RouterCut, 100) };
        let through = |router| (1, Success { invoked: 110 + router, returned: 120, router });
        assert_eq!(cut.recovery(&Successes::of([1], [through(1)])), None);
        assert_eq!(cut.recovery(&Successes::of([1], [through(1), through(2)])), Some(15));
    }

    #[test]
    fn after_everything_was_down_all_shards_count_from_the_start() {
        let incident = incident(1, Kind::KillAll, 100);
        let other = |invoked| (2, Success { invoked, returned: invoked + 9, router: 2 });
        let successes = Successes::of([1, 2], [issued(121), issued(119), other(130)]);
        assert_eq!(incident.recovery(&successes), Some(19));
        assert_eq!(incident.recovery(&Successes::of([1, 2], [issued(121)])), None);
    }

    #[test]
    fn the_checker_is_told() {
        let mut incident = incident(3, Kind::KillLeader, 100);
        let fault = incident.fault();
        assert_eq!(fault.name, "3 kill-leader of shard 1");
        assert_eq!((fault.began, fault.ended, fault.in_force), (105, 150, true));
        incident.why_not = Some("no leader".to_owned());
        assert!(!incident.fault().in_force);
    }
}
