//! What must be reached for an exit code of 0, besides the verdict.

use std::time::Duration;

use crate::kind::Measure;
use crate::report::KindReport;

/// Thresholds; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The median time to the next issue, of each kind that hits a leader.
    pub rto_p50_max: Option<Duration>,
    /// That of 99 % of them.
    pub rto_p99_max: Option<Duration>,
    /// The longest of them.
    pub rto_max: Option<Duration>,
    /// The longest time to the next issue of every shard after everything was down.
    pub restart_max: Option<Duration>,
    /// The longest gap of any shard during planned stops and restarts.
    pub planned_gap_max: Option<Duration>,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::report::Figures;

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
}
