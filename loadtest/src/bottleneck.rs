//! Whether the figures say something about the system, or about the load generator.

use std::fmt;

use serde::Serialize;

/// From this share of its time on, the thread of the load generator has no time left: what it
/// measures is mostly itself.
const BUSY_SHARE: f64 = 0.85;

/// Up to this share of late calls a run is on time.
const LATE_SHARE: f64 = 0.01;

/// What a run knows about itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Symptoms {
    /// Whether calls were to be sent at given times.
    pub(crate) is_open: bool,
    /// How much of the time in which calls were sent the generator's thread was on a processor, 0
    /// to 1; `None` if that could not be measured.
    pub(crate) busy: Option<f64>,
    /// Calls that should have been sent.
    pub(crate) offered: u64,
    /// Those that were sent late, or never.
    pub(crate) late: u64,
    /// Whether calls had to wait since too many were under way.
    pub(crate) was_bounded: bool,
}

/// What kept the figures from being better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bottleneck {
    /// Nothing: the load was what was wished.
    None,
    /// The load generator did not keep up; the system can do at least this.
    Generator,
    /// The load generator was not let run in time by others on its machine.
    Machine,
    /// The system: as many calls were under way as are allowed.
    System,
}

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none that the load generator knows of",
            Self::Generator => {
                "THE LOAD GENERATOR: its thread had no time left; the system can do at least this"
            }
            Self::Machine => {
                "THE MACHINE: calls were sent late although the load generator's thread was not \
                 busy, since others had the processor"
            }
            Self::System => {
                "the system: as many calls were under way as --max-in-flight allows, so that \
                 others came late or never"
            }
        })
    }
}

/// Finds the bottleneck.
pub(crate) fn find(symptoms: Symptoms) -> Bottleneck {
    let is_busy = symptoms.busy.is_some_and(|busy| busy >= BUSY_SHARE);
    let is_late = symptoms.is_open && share(symptoms.late, symptoms.offered) > LATE_SHARE;
    // A closed loop is meant to go to a limit: only a generator at its own spoils it.
    match (is_busy, is_late, symptoms.was_bounded) {
        (true, true, _) => Bottleneck::Generator,
        (true, false, _) if !symptoms.is_open => Bottleneck::Generator,
        (false, true, false) => Bottleneck::Machine,
        (false, _, true) => Bottleneck::System,
        (true | false, false, _) => Bottleneck::None,
    }
}

/// `part` of `whole`, 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a share for comparisons; counts stay below 2^52")]
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottleneck_follows_from_the_symptoms() {
        let open = |busy, late, was_bounded| {
            let busy = Some(busy);
            find(Symptoms { is_open: true, busy, offered: 1_000, late, was_bounded })
        };
        assert_eq!(open(0.3, 0, false), Bottleneck::None);
        assert_eq!(open(0.3, 10, false), Bottleneck::None);
        assert_eq!(open(0.3, 11, false), Bottleneck::Machine);
        assert_eq!(open(0.3, 500, true), Bottleneck::System);
        assert_eq!(open(0.95, 500, false), Bottleneck::Generator);
        assert_eq!(open(0.95, 500, true), Bottleneck::Generator);
        assert_eq!(open(0.95, 0, false), Bottleneck::None);
        let closed = |busy| {
            let (late, was_bounded) = (0, false);
            find(Symptoms { is_open: false, busy, offered: 1_000, late, was_bounded })
        };
        assert_eq!(closed(Some(0.9)), Bottleneck::Generator);
        assert_eq!(closed(Some(0.5)), Bottleneck::None);
        assert_eq!(closed(None), Bottleneck::None);
    }
}
