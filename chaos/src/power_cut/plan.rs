//! When power is lost, and to which nodes. Pure: the same seed and numbers give the same plan.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Maximum time for which everything serves before the next cut, in milliseconds.
const PAUSE_MILLIS_MAX: u64 = 1_500;

/// Maximum time after the start at which power is lost again, in milliseconds: nodes recover their
/// databases, register and elect in it.
const AGAIN_MILLIS_MAX: u64 = 1_500;

/// Share of the rounds, in percent, in which power is lost again while nodes start.
const AGAIN_PERCENT: u32 = 25;

/// One power cut, or two of which the second meets nodes that start; then everything serves again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// For how long everything has served before.
    pub pause: Duration,
    /// The nodes that lose power, in order.
    pub nodes: Vec<u64>,
    /// The second cut.
    pub again: Option<Again>,
}

/// A cut while nodes start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The time since the nodes were started.
    pub after: Duration,
    /// The nodes that lose power, in order; not necessarily those that start.
    pub nodes: Vec<u64>,
}

impl Round {
    /// The number of cuts.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        1 + u32::from(self.again.is_some())
    }

    /// The largest number of nodes that lose power at once.
    #[must_use]
    pub fn nodes_max(&self) -> usize {
        self.nodes.len().max(self.again.as_ref().map_or(0, |again| again.nodes.len()))
    }
}

/// The rounds of a run with a number of cuts, in order.
#[must_use]
pub fn plan(seed: u64, cuts: u32, nodes: &[u64]) -> Vec<Round> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rounds = Vec::new();
    let mut left = cuts;
    while left > 0 {
        let round = round(&mut random, left, nodes);
        left -= round.cuts();
        rounds.push(round);
    }
    rounds
}

fn round(random: &mut StdRng, cuts_max: u32, nodes: &[u64]) -> Round {
    let pause = millis(random, PAUSE_MILLIS_MAX);
    let first = victims(random, nodes);
    let is_twofold = random.random_range(0..100) < AGAIN_PERCENT && cuts_max > 1;
    let again = is_twofold
        .then(|| Again { after: millis(random, AGAIN_MILLIS_MAX), nodes: victims(random, nodes) });
    Round { pause, nodes: first, again }
}

/// All nodes in three cuts of five, else one or two.
fn victims(random: &mut StdRng, nodes: &[u64]) -> Vec<u64> {
    let count = match random.random_range(0..5) {
        0 => 1,
        1 => 2,
        _ => nodes.len(),
    };
    let mut victims: Vec<u64> = nodes.choose_multiple(random, count).copied().collect();
    victims.sort_unstable();
    victims
}

fn millis(random: &mut StdRng, most: u64) -> Duration {
    Duration::from_millis(random.random_range(0..=most))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NODES: [u64; 3] = [1, 2, 3];

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        assert_eq!(plan(7, 100, &NODES), plan(7, 100, &NODES));
        assert_ne!(plan(7, 100, &NODES), plan(8, 100, &NODES));
    }

    #[test]
    fn there_are_as_many_cuts_as_asked_for() {
        for cuts in 0..40 {
            let found: u32 = plan(cuts.into(), cuts, &NODES).iter().map(Round::cuts).sum();
            assert_eq!(found, cuts);
        }
    }

    #[test]
    fn every_set_of_nodes_loses_power_and_mostly_all() {
        let rounds = plan(1, 200, &NODES);
        let sets: BTreeSet<&[u64]> = rounds.iter().map(|round| round.nodes.as_slice()).collect();
        let all: BTreeSet<&[u64]> =
            [&[1][..], &[2], &[3], &[1, 2], &[1, 3], &[2, 3], &[1, 2, 3]].into();
        assert_eq!(sets, all);
        let of_all = rounds.iter().filter(|round| round.nodes.len() == 3).count();
        assert!(of_all * 2 > rounds.len(), "{of_all} of {}", rounds.len());
        let again: Vec<&Again> = rounds.iter().filter_map(|round| round.again.as_ref()).collect();
        assert!(again.len() > rounds.len() / 8, "{} of {}", again.len(), rounds.len());
        assert!(again.iter().any(|again| again.nodes.len() == 3 && again.after.as_millis() < 500));
    }
}
