//! When a shard issued again. Pure.
//!
//! Times are nanoseconds of the clock of the recording.

use std::collections::BTreeMap;

use serde::Serialize;

/// A coupon that was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Success {
    /// When the call began.
    pub invoked: u64,
    /// When it was answered.
    pub returned: u64,
    /// The number of the router that answered.
    pub router: u64,
}

/// The coupons of each shard, in the order of their answers.
#[derive(Clone, Debug, Default)]
pub struct Successes {
    of_shard: BTreeMap<u32, Vec<Success>>,
}

/// A time in which a shard issued nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The shard.
    pub shard: u32,
    /// How long it was, in nanoseconds.
    pub nanos: u64,
}

impl Successes {
    /// None of these shards has issued anything.
    #[must_use]
    pub fn new(shards: impl IntoIterator<Item = u32>) -> Self {
        Self { of_shard: shards.into_iter().map(|shard| (shard, Vec::new())).collect() }
    }

    /// Adds one. They come about in the order of their answers.
    pub fn add(&mut self, shard: u32, success: Success) {
        let successes = self.of_shard.entry(shard).or_default();
        let place = successes.iter().rposition(|one| one.returned <= success.returned);
        successes.insert(place.map_or(0, |place| place + 1), success);
    }

    /// All of them, in any order.
    #[must_use]
    pub fn of(
        shards: impl IntoIterator<Item = u32>,
        all: impl IntoIterator<Item = (u32, Success)>,
    ) -> Self {
        let mut successes = Self::new(shards);
        for (shard, success) in all {
            successes.of_shard.entry(shard).or_default().push(success);
        }
        for successes in successes.of_shard.values_mut() {
            successes.sort_unstable_by_key(|success| success.returned);
        }
        successes
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        for successes in self.of_shard.values_mut() {
            successes.clear();
        }
    }

    /// How long after `from` a shard answered a call with a coupon that was invoked after `from`, and
    /// through this router if one is given; `None` if it never did.
    #[must_use]
    pub fn recovery(&self, shard: u32, router: Option<u64>, from: u64) -> Option<u64> {
        let successes = self.of_shard.get(&shard)?;
        let after = successes.partition_point(|success| success.returned <= from);
        let is_meant = |success: &&Success| {
            success.invoked > from && router.is_none_or(|router| router == success.router)
        };
        let first = successes[after..].iter().find(is_meant)?;
        Some(first.returned - from)
    }

    /// The same for the shard that took longest; `None` if one of them never did.
    #[must_use]
    pub fn slowest_recovery(&self, from: u64) -> Option<(u32, u64)> {
        let recoveries =
            self.of_shard.keys().map(|shard| Some((*shard, self.recovery(*shard, None, from)?)));
        let recoveries: Option<Vec<(u32, u64)>> = recoveries.collect();
        recoveries?.into_iter().max_by_key(|(_, nanos)| *nanos)
    }

    /// The shards that never did.
    #[must_use]
    pub fn standing_still(&self, from: u64) -> Vec<u32> {
        let shards = self.of_shard.keys().copied();
        shards.filter(|shard| self.recovery(*shard, None, from).is_none()).collect()
    }

    /// The longest time between two answers of a shard of which some part is between `from` and
    /// `until`, as far as it is.
    #[must_use]
    pub fn gap(&self, shard: u32, from: u64, until: u64) -> Gap {
        let successes = self.of_shard.get(&shard).map_or(&[][..], Vec::as_slice);
        let first = successes.partition_point(|success| success.returned <= from);
        let last = successes.partition_point(|success| success.returned < until);
        let between = successes.get(first..last).unwrap_or_default();
        let moments = between.iter().map(|success| success.returned);
        let mut nanos = 0;
        let mut before = from;
        for moment in moments.chain([until.max(from)]) {
            nanos = nanos.max(moment - before);
            before = moment;
        }
        Gap { shard, nanos }
    }

    /// The longest gap of any shard.
    #[must_use]
    pub fn longest_gap(&self, from: u64, until: u64) -> Option<Gap> {
        let gaps = self.of_shard.keys().map(|shard| self.gap(*shard, from, until));
        gaps.max_by_key(|gap| gap.nanos)
    }

    /// When the first coupon was answered.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.of_shard.values().filter_map(|all| all.first()).map(|one| one.returned).min()
    }

    /// When the last one was.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.of_shard.values().filter_map(|all| all.last()).map(|one| one.returned).max()
    }

    /// The answers of each shard.
    pub(crate) fn by_shard(&self) -> impl Iterator<Item = (u32, &[Success])> {
        self.of_shard.iter().map(|(shard, successes)| (*shard, successes.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success(invoked: u64, returned: u64) -> Success {
        Success { invoked, returned, router: invoked / 10 % 2 + 1 }
    }

    /// Shard 1 stands still from 20 to 70, shard 2 issues every 10.
    fn successes() -> Successes {
        let one = [(0, 5), (10, 15), (15, 70), (18, 71), (40, 72), (60, 75), (80, 85)];
        let two = (0..10).map(|number| (number * 10, number * 10 + 2));
        let one = one.into_iter().map(|(from, to)| (1, success(from, to)));
        Successes::of([1, 2], one.chain(two.map(|(from, to)| (2, success(from, to)))))
    }

    #[test]
    fn who_asked_before_the_fault_proves_nothing() {
        let recovery = |shard, from| successes().recovery(shard, None, from);
        assert_eq!(recovery(1, 20), Some(52), "the call of 40, not those before 20");
        assert_eq!(recovery(2, 20), Some(12), "the call of 30, not that of 20");
        assert_eq!(recovery(1, 80), None);
        assert_eq!(recovery(3, 0), None);
    }

    #[test]
    fn who_asked_another_router_proves_nothing() {
        let recovery = |router| successes().recovery(2, Some(router), 25);
        assert_eq!(recovery(2), Some(7), "the call of 30");
        assert_eq!(recovery(1), Some(17), "the call of 40, not that of 30");
        assert_eq!(recovery(3), None);
    }

    #[test]
    fn all_shards_have_recovered_when_the_last_one_has() {
        assert_eq!(successes().slowest_recovery(20), Some((1, 52)));
        assert_eq!(successes().slowest_recovery(85), None);
        assert!(successes().standing_still(20).is_empty());
        assert_eq!(successes().standing_still(85), [1]);
    }

    #[test]
    fn gaps_are_between_answers_and_within_bounds() {
        let all = successes();
        assert_eq!(all.gap(1, 0, 100), Gap { shard: 1, nanos: 55 });
        assert_eq!(all.gap(1, 30, 100).nanos, 40);
        assert_eq!(all.gap(1, 0, 50).nanos, 35);
        assert_eq!(all.gap(1, 90, 95).nanos, 5);
        assert_eq!(all.gap(1, 95, 90).nanos, 0);
        assert_eq!(all.gap(3, 5, 15).nanos, 10, "a shard that issued nothing");
        assert_eq!(all.longest_gap(0, 100), Some(Gap { shard: 1, nanos: 55 }));
    }

    #[test]
    fn answers_are_kept_in_order() {
        let mut live = Successes::new([1]);
        for (invoked, returned) in [(0, 5), (1, 9), (2, 7), (3, 3)] {
            live.add(1, success(invoked, returned));
        }
        let (_, kept) = live.by_shard().next().unwrap();
        assert_eq!(kept.iter().map(|one| one.returned).collect::<Vec<_>>(), [3, 5, 7, 9]);
        live.clear();
        assert_eq!(live.recovery(1, None, 0), None);
        assert_eq!(live.longest_gap(0, 4), Some(Gap { shard: 1, nanos: 4 }));
    }
}
