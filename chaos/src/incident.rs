//! What happened when a fault was put in force, and what it did to those who wanted coupons. Pure.
//!
//! Times are nanoseconds of the clock of the recording.

use coupon_checker::{Call, Fault, Operation, Outcome};
use serde::Serialize;

use crate::kind::{Kind, Measure};
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
    /// Who was hit.
    pub targets: Vec<String>,
    /// When.
    pub times: Times,
    /// Why it was not in force; `None` if it was.
    pub why_not: Option<String>,
}

/// What a fault did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// How long the shard that was hit, or the slowest of all, took to issue again. `None` where that
    /// is not measured, and where it never did.
    pub recovery: Option<u64>,
    /// The longest time in which a shard issued nothing, from the call of the script to the call of
    /// the next one.
    pub gap: Option<Gap>,
    /// Calls that began meanwhile and were refused for no reason that the API promises.
    pub failed: u64,
    /// Calls that began meanwhile and whose outcome is not known.
    pub unknown: u64,
    /// The longest of the calls that began meanwhile.
    pub slowest: u64,
}

impl Incident {
    /// As the checker knows it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let shard = self.shard.map_or_else(String::new, |shard| format!(" of shard {shard}"));
        let Times { began, healed, .. } = self.times;
        Fault {
            name: format!("{} {}{shard}", self.number, self.kind),
            began,
            ended: healed,
            in_force: self.why_not.is_none(),
        }
    }

    /// How long the shard that was hit, or the slowest of all, took to issue again.
    #[must_use]
    pub fn recovery(&self, successes: &Successes) -> Option<u64> {
        let Times { began, started, .. } = self.times;
        match self.kind.measure() {
            Measure::Recovery => successes.recovery(self.shard?, began),
            Measure::Restart => successes.slowest_recovery(started?).map(|(_, nanos)| nanos),
            Measure::Gap => None,
        }
    }
}

/// The effects of incidents, which are in the order of their times.
#[must_use]
pub fn effects<'a>(
    incidents: &[Incident],
    successes: &Successes,
    operations: impl IntoIterator<Item = &'a Operation>,
) -> Vec<Effect> {
    let of = |incident: &Incident| Effect {
        recovery: incident.recovery(successes),
        gap: successes.longest_gap(incident.times.called, incident.times.until),
        ..Effect::default()
    };
    let mut effects: Vec<Effect> = incidents.iter().map(of).collect();
    for operation in operations.into_iter().filter(|one| matches!(one.call, Call::Issue { .. })) {
        let next = incidents.partition_point(|one| one.times.called <= operation.invoked);
        let Some(at) = next.checked_sub(1) else { continue };
        if operation.invoked >= incidents[at].times.until {
            continue;
        }
        let effect = &mut effects[at];
        effect.failed += u64::from(operation.outcome == Outcome::Refused);
        effect.unknown += u64::from(operation.outcome == Outcome::Unknown);
        let lasted = operation.returned.saturating_sub(operation.invoked);
        effect.slowest = effect.slowest.max(lasted);
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
        let targets = vec!["node-1".to_owned()];
        Incident { number, kind, shard: Some(1), targets, times, why_not: None }
    }

    fn operation(invoked: u64, returned: u64, outcome: Outcome) -> Operation {
        let call = Call::Issue { request_id: 1, recipient: "".into() };
        Operation { invoked, returned, call, outcome }
    }

    fn issued(invoked: u64) -> (u32, Success) {
        (1, Success { invoked, returned: invoked + 2 })
    }

    #[test]
    fn each_incident_has_its_own_calls() {
        let incidents = [incident(1, Kind::KillLeader, 100), incident(2, Kind::Loss, 200)];
        let successes = Successes::of([1], [90, 110, 150, 190, 204, 240, 290].map(issued));
        let operations = [
            operation(99, 400, Outcome::Unknown),
            operation(100, 130, Outcome::Unknown),
            operation(199, 299, Outcome::Refused),
            operation(200, 210, Outcome::SoldOut),
            operation(299, 300, Outcome::Refused),
            operation(300, 900, Outcome::Refused),
        ];
        let found = effects(&incidents, &successes, &operations);
        let gap = |nanos| Some(Gap { shard: 1, nanos });
        let first = Effect { recovery: Some(7), gap: gap(40), failed: 1, unknown: 1, slowest: 100 };
        assert_eq!(found[0], first);
        let second = Effect { recovery: None, gap: gap(50), failed: 1, unknown: 0, slowest: 10 };
        assert_eq!(found[1], second);
    }

    #[test]
    fn after_everything_was_down_all_shards_count_from_the_start() {
        let incident = incident(1, Kind::KillAll, 100);
        let other = |invoked| (2, Success { invoked, returned: invoked + 9 });
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
