//! Which faults happen, in which order, to which shards and for how long. Pure: the same seed, counts
//! and cluster give the same plan.
//!
//! A plan names shards. Which node leads a shard, or follows there, is known when its turn comes.

use std::ops::RangeInclusive;
use std::time::Duration;

use coupon_checker::Fault;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};

use crate::kind::{Count, Kind};
use crate::topology::Topology;

/// How many routers the cluster of `compose.cluster.yml` has.
pub(crate) const ROUTERS: u64 = 2;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its kind.
    pub kind: Kind,
    /// The shard that is hit; `None` if all are.
    pub shard: Option<u32>,
    /// The router that is cut off from it; `None` if none is.
    pub router: Option<u64>,
    /// The script in `chaos/` that puts it in force.
    pub script: &'static str,
    /// The arguments of the script.
    pub arguments: Vec<String>,
    /// How long it stays in force at least.
    pub hold: Duration,
}

impl Step {
    /// As the checker knows one that never had its turn, `at` which moment there was no more time.
    #[must_use]
    pub fn not_carried_out(&self, number: usize, at: u64) -> Fault {
        let name = fault_name(number, self.kind, self.shard);
        Fault { name, began: at, ended: at, in_force: false }
    }
}

/// The name of a fault for people.
pub(crate) fn fault_name(number: usize, kind: Kind, shard: Option<u32>) -> String {
    let shard = shard.map_or_else(String::new, |shard| format!(" of shard {shard}"));
    format!("{number} {kind}{shard}")
}

/// The faults of a run, in order.
#[must_use]
pub fn plan(seed: u64, counts: &[Count], topology: &Topology) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kinds: Vec<Kind> =
        counts.iter().flat_map(|one| (0..one.count).map(|_| one.kind)).collect();
    // So that it does not matter in which order they were asked for.
    kinds.sort_unstable();
    kinds.shuffle(&mut random);
    let mut hits = Hits { shards: topology.shards(), left: Vec::new() };
    kinds.into_iter().map(|kind| step(kind, &mut random, &mut hits, topology)).collect()
}

/// Deals shards out so that each is hit as often as any other.
struct Hits {
    shards: Vec<u32>,
    left: Vec<u32>,
}

impl Hits {
    fn next(&mut self, random: &mut StdRng) -> u32 {
        if self.left.is_empty() {
            self.left.clone_from(&self.shards);
            self.left.shuffle(random);
        }
        self.left.pop().unwrap_or_default()
    }
}

fn step(kind: Kind, random: &mut StdRng, hits: &mut Hits, topology: &Topology) -> Step {
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut shard = None;
    let mut cut = None;
    let mut hit = |random: &mut StdRng| *shard.insert(hits.next(random));
    let (script, arguments, hold) = match kind {
        Kind::KillLeader => ("kill", format!("leader {}", hit(random)), seconds(2..=2, random)),
        Kind::KillFollower => ("kill", format!("follower {}", hit(random)), seconds(3..=6, random)),
        Kind::KillAll => ("kill", "all".to_owned(), seconds(1..=3, random)),
        Kind::KillRouter => {
            let router = random.random_range(1..=ROUTERS);
            ("kill", format!("router {router}"), seconds(3..=6, random))
        }
        Kind::PauseLeader => ("pause", format!("leader {}", hit(random)), seconds(5..=20, random)),
        Kind::PauseFollower => {
            ("pause", format!("follower {}", hit(random)), seconds(5..=20, random))
        }
        Kind::Stop => ("stop", format!("leader {}", hit(random)), seconds(2..=4, random)),
        Kind::RestartEach => ("restart", "nodes".to_owned(), Duration::ZERO),
        Kind::IsolateLeader => {
            ("partition", format!("isolate leader {}", hit(random)), seconds(5..=10, random))
        }
        Kind::InLeader => {
            ("partition", format!("in leader {}", hit(random)), seconds(5..=10, random))
        }
        Kind::OutLeader => {
            ("partition", format!("out leader {}", hit(random)), seconds(5..=10, random))
        }
        Kind::SplitMinority => {
            let shard = hit(random);
            let with = bystander(shard, random, topology);
            // Both sides have a router, so that the minority is asked as well, and so that a shard
            // whose majority happens to be on this side can be reached.
            let router = random.random_range(1..=ROUTERS);
            let side = format!("split router {router}{with} leader {shard}");
            ("partition", side, seconds(5..=10, random))
        }
        Kind::Bridge => {
            let node = topology.nodes.choose(random).copied().unwrap_or_default();
            ("partition", format!("bridge {node}"), seconds(5..=10, random))
        }
        Kind::Ring => ("partition", "ring".to_owned(), seconds(5..=10, random)),
        Kind::RouterCut => {
            let router = *cut.insert(random.random_range(1..=ROUTERS));
            let shard = hit(random);
            ("partition", format!("router {router} leader {shard}"), seconds(5..=8, random))
        }
        Kind::Loss => ("loss", format!("10 leader {}", hit(random)), seconds(8..=12, random)),
    };
    Step { kind, shard, router: cut, script, arguments: words(arguments), hold }
}

/// A node without a replica of the shard, so that the leader's side has no majority of it.
fn bystander(shard: u32, random: &mut StdRng, topology: &Topology) -> String {
    let voters = topology.voters.get(&shard);
    let is_bystander = |node: &&u64| voters.is_none_or(|voters| !voters.contains(node));
    let bystanders: Vec<&u64> = topology.nodes.iter().filter(is_bystander).collect();
    bystanders.choose(random).map_or_else(String::new, |node| format!(" node {node}"))
}

fn seconds(range: RangeInclusive<u64>, random: &mut StdRng) -> Duration {
    let (least, most) = (range.start() * 1_000, range.end() * 1_000);
    Duration::from_millis(random.random_range(least..=most))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::topology::tests::topology;

    fn all(count: u32) -> Vec<Count> {
        Kind::ALL.map(|kind| Count { kind, count }).to_vec()
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        let topology = topology(8);
        let mut reversed = all(3);
        reversed.reverse();
        assert_eq!(plan(7, &all(3), &topology), plan(7, &reversed, &topology));
        assert_ne!(plan(7, &all(3), &topology), plan(8, &all(3), &topology));
    }

    #[test]
    fn every_fault_that_was_asked_for_is_there() {
        let steps = plan(1, &all(5), &topology(8));
        let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
        for step in &steps {
            *counts.entry(step.kind).or_default() += 1;
            assert!(step.hold <= Duration::from_secs(20), "{step:?}");
        }
        assert_eq!(counts, Kind::ALL.map(|kind| (kind, 5)).into());
        assert!(!steps.is_sorted_by_key(|step| step.kind), "they are shuffled");
    }

    #[test]
    fn every_shard_is_hit_as_often_as_any_other() {
        let counts = [Count { kind: Kind::KillLeader, count: 24 }];
        let mut hits: BTreeMap<u32, u32> = BTreeMap::new();
        for step in plan(3, &counts, &topology(8)) {
            *hits.entry(step.shard.unwrap()).or_default() += 1;
            assert_eq!(step.arguments, ["leader".to_owned(), step.shard.unwrap().to_string()]);
        }
        assert_eq!(hits, (1..=8).map(|shard| (shard, 3)).collect());
    }

    #[test]
    fn a_leader_in_the_minority_has_no_other_voter_with_it() {
        let topology = topology(8);
        for step in plan(5, &[Count { kind: Kind::SplitMinority, count: 40 }], &topology) {
            let other: u64 = step.arguments[4].parse().unwrap();
            assert!(!topology.voters[&step.shard.unwrap()].contains(&other), "{step:?}");
        }
    }

    #[test]
    fn a_router_that_is_cut_off_is_named() {
        let steps = plan(5, &[Count { kind: Kind::RouterCut, count: 10 }], &topology(8));
        for Step { router, arguments, .. } in &steps {
            assert_eq!(arguments[1], router.unwrap().to_string());
        }
        let routers = |number| steps.iter().filter(|step| step.router == Some(number)).count();
        assert!(routers(1) > 0 && routers(2) > 0 && routers(1) + routers(2) == 10);
    }

    #[test]
    fn leaders_are_paused_for_5_to_20_seconds() {
        let steps = plan(5, &[Count { kind: Kind::PauseLeader, count: 100 }], &topology(3));
        let holds = steps.iter().map(|step| step.hold.as_secs_f64());
        assert!(holds.clone().all(|hold| (5.0..=20.0).contains(&hold)));
        assert!(holds.fold(0.0, f64::max) > 18.0);
    }
}
