//! What must be reached for an exit code of 0, besides the verdict.

use std::time::Duration;

use crate::fault_report::KindReport;
use crate::kind::{Count, Measure};
use crate::load_report::LoadReport;

/// Thresholds; those that are `None` are not held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// How many calls may end with an error after all repetitions.
    pub errors_max: u64,
    /// The median time to the next issue, of each kind of which it is measured.
    pub rto_p50_max: Option<Duration>,
    /// That of 99 % of them.
    pub rto_p99_max: Option<Duration>,
    /// The longest of them.
    pub rto_max: Option<Duration>,
    /// The longest time to the next issue of every shard after everything was down.
    pub restart_max: Option<Duration>,
    /// The longest gap of any shard during planned stops and restarts.
    pub planned_gap_max: Option<Duration>,
    /// How many calls under way during planned stops and restarts, of each of the two kinds, may have
    /// to be sent more than once.
    pub planned_repeats_max: Option<u64>,
}

impl Thresholds {
    /// Those that were missed, in words. That a shard never issued again, and that a call failed
    /// because of what an operator did, is missed in any case.
    #[must_use]
    pub fn missed(&self, kinds: &[KindReport]) -> Vec<String> {
        let mut missed = Vec::new();
        for kind in kinds {
            let name = kind.kind.name();
            if kind.never > 0 {
                missed.push(format!("{name}: {} times a shard did not issue again", kind.never));
            }
            let errors = kind.failed + kind.unknown;
            if kind.kind.is_planned() && errors > 0 {
                missed.push(format!("{name}: {errors} calls failed, none was allowed to"));
            }
            if let Some(most) = self.planned_repeats_max
                && kind.kind.is_planned()
                && kind.repeated > most
            {
                let repeated = kind.repeated;
                missed.push(format!("{name}: {repeated} calls were repeated, more than {most}"));
            }
            let mut hold = |what: &str, found: Option<f64>, most: Option<Duration>| {
                if let (Some(found), Some(most)) = (found, most)
                    && found > most.as_secs_f64() * 1e3
                {
                    let most = humantime::format_duration(most);
                    missed.push(format!("{name}: {what} was {found:.0} ms, more than {most}"));
                }
            };
            let rto = kind.rto_ms;
            match kind.kind.measure() {
                Measure::Recovery => {
                    hold(
                        "the median time to the next issue",
                        rto.map(|one| one.p50),
                        self.rto_p50_max,
                    );
                    hold(
                        "p99 of the time to the next issue",
                        rto.map(|one| one.p99),
                        self.rto_p99_max,
                    );
                    hold(
                        "the longest time to the next issue",
                        rto.map(|one| one.max),
                        self.rto_max,
                    );
                }
                Measure::Restart => {
                    let slowest = rto.map(|one| one.max);
                    hold("the time to the next issue of every shard", slowest, self.restart_max);
                }
                Measure::Gap if kind.kind.is_planned() => {
                    let longest = kind.longest_gap_ms.map(|one| one.max);
                    hold("the longest gap", longest, self.planned_gap_max);
                }
                Measure::Gap => {}
            }
        }
        missed
    }

    /// What the load as a whole missed, in words. A call that was never sent is missed in any case.
    #[must_use]
    pub fn missed_by(&self, load: &LoadReport) -> Vec<String> {
        let mut missed = Vec::new();
        if load.errors > self.errors_max {
            missed.push(format!(
                "{} of {} calls ended with an error after all repetitions, more than {}",
                load.errors, load.sent, self.errors_max
            ));
        }
        if load.unsent > 0 {
            missed.push(format!("{} calls were never sent", load.unsent));
        }
        missed
    }

    /// The options whose threshold nothing in a plan is measured by.
    #[must_use]
    pub fn without_measure(&self, plan: &[Count]) -> Vec<&'static str> {
        let kinds = plan.iter().filter(|one| one.count > 0).map(|one| one.kind);
        let has = |measure| kinds.clone().any(|kind| kind.measure() == measure);
        let (recovers, restarts) = (has(Measure::Recovery), has(Measure::Restart));
        let is_planned = kinds.clone().any(|kind| kind.is_planned());
        let options = [
            ("--max-rto-p50", self.rto_p50_max.is_some(), recovers),
            ("--max-rto-p99", self.rto_p99_max.is_some(), recovers),
            ("--max-rto", self.rto_max.is_some(), recovers),
            ("--max-rto-kill-all", self.restart_max.is_some(), restarts),
            ("--max-planned-gap", self.planned_gap_max.is_some(), is_planned),
            ("--max-planned-repeats", self.planned_repeats_max.is_some(), is_planned),
        ];
        let idle = options.into_iter().filter(|(_, is_set, is_measured)| *is_set && !is_measured);
        idle.map(|(name, ..)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use coupon_loadtest::{Bottleneck, Latency};

    use super::*;
    use crate::figures::Figures;
    use crate::kind::Kind;

    fn kind(kind: Kind, rto: f64) -> KindReport {
        let figures = Some(Figures { p50: rto, p99: rto, max: rto });
        KindReport {
            kind,
            count: 1,
            in_force: 1,
            never: 0,
            rto_ms: figures,
            elected_after_ms: None,
            longest_gap_ms: figures,
            failed: 0,
            unknown: 0,
            repeated: 0,
            slowest_call_ms: 0.0,
        }
    }

    #[test]
    fn each_threshold_is_for_its_kinds() {
        let second = Some(Duration::from_secs(1));
        let kinds = [
            kind(Kind::KillLeader, 1_500.0),
            kind(Kind::KillAll, 1_500.0),
            kind(Kind::Stop, 1_500.0),
        ];
        let missed = |thresholds: Thresholds| thresholds.missed(&kinds);
        assert!(missed(Thresholds::default()).is_empty());
        let one = missed(Thresholds { rto_p50_max: second, ..Thresholds::default() });
        assert_eq!(
            one,
            ["kill-leader: the median time to the next issue was 1500 ms, more than 1s"]
        );
        let all = Thresholds {
            rto_p50_max: second,
            rto_p99_max: second,
            rto_max: second,
            restart_max: second,
            planned_gap_max: second,
            ..Thresholds::default()
        };
        assert_eq!(missed(all).len(), 5);
        let two = Some(Duration::from_secs(2));
        assert!(missed(Thresholds { rto_max: two, ..Thresholds::default() }).is_empty());
    }

    #[test]
    fn some_things_are_never_allowed() {
        let never = KindReport { never: 2, rto_ms: None, ..kind(Kind::PauseLeader, 0.0) };
        let failed = KindReport { unknown: 3, ..kind(Kind::RestartEach, 0.0) };
        let others = KindReport { failed: 3, ..kind(Kind::KillLeader, 0.0) };
        let missed = Thresholds::default().missed(&[never, failed, others]);
        assert_eq!(missed.len(), 2, "{missed:?}");
    }
    #[test]
    fn repetitions_count_only_when_planned() {
        let repeated = |one| KindReport { repeated: 3, ..kind(one, 0.0) };
        let kinds = [repeated(Kind::Stop), repeated(Kind::KillLeader)];
        let missed = |planned_repeats_max| {
            Thresholds { planned_repeats_max, ..Thresholds::default() }.missed(&kinds)
        };
        assert!(missed(None).is_empty() && missed(Some(3)).is_empty());
        assert_eq!(missed(Some(2)), ["stop: 3 calls were repeated, more than 2"]);
    }

    #[test]
    fn errors_and_calls_never_sent_are_missed() {
        let load = LoadReport {
            sent: 100,
            issued: 95,
            errors: 5,
            late: 0,
            unsent: 0,
            bottleneck: Bottleneck::None,
            latency: Latency::default(),
            elapsed_seconds: 1.0,
        };
        let missed = |errors_max, unsent| {
            let load = LoadReport { unsent, ..load.clone() };
            Thresholds { errors_max, ..Thresholds::default() }.missed_by(&load)
        };
        assert!(missed(5, 0).is_empty());
        let text = "5 of 100 calls ended with an error after all repetitions, more than 4";
        assert_eq!(missed(4, 0), [text]);
        assert_eq!(missed(5, 7), ["7 calls were never sent"]);
    }

    #[test]
    fn a_threshold_without_a_measure_is_found() {
        let second = Some(Duration::from_secs(1));
        let all = Thresholds {
            rto_max: second,
            restart_max: second,
            planned_gap_max: second,
            ..Thresholds::default()
        };
        let without = |plan: &[&str]| {
            let plan: Vec<Count> = plan.iter().map(|one| one.parse().unwrap()).collect();
            all.without_measure(&plan)
        };
        assert_eq!(without(&["kill-leader", "kill-all", "stop"]), [""; 0]);
        assert_eq!(without(&["router-cut", "kill-all=0", "stop"]), ["--max-rto-kill-all"]);
        assert_eq!(without(&["ring"]), ["--max-rto", "--max-rto-kill-all", "--max-planned-gap"]);
        assert!(Thresholds::default().without_measure(&[]).is_empty());
    }
}
