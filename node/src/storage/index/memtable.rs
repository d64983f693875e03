//! The newest claims of an index, in memory.

use std::collections::HashMap;

use super::claim::{Claim, Key};

/// Number of claims that are kept in no order. They are searched one by one.
const RECENT_MAX: usize = 1_024;

/// The newest claims of an index. Adding one touches little memory, since that is what most costs are: claims are
/// collected, sorted, and merged with those before.
#[derive(Default)]
pub(super) struct Memtable {
    /// The newest ones, in no order.
    recent: Vec<Claim>,
    /// The others, in runs in order, each longer than the next.
    runs: Vec<Vec<Claim>>,
    /// Campaign number to the last sequence number added.
    through: HashMap<u32, u32>,
}

impl Memtable {
    /// The number of claims.
    pub(super) fn len(&self) -> usize {
        self.recent.len() + self.runs.iter().map(Vec::len).sum::<usize>()
    }

    /// Adds a claim.
    pub(super) fn insert(&mut self, claim: Claim) {
        self.recent.push(claim);
        if self.recent.len() == RECENT_MAX {
            let mut run = std::mem::replace(&mut self.recent, Vec::with_capacity(RECENT_MAX));
            run.sort_unstable();
            while let Some(last) = self.runs.pop_if(|last| last.len() <= run.len()) {
                run = merged(&last, &run);
            }
            self.runs.push(run);
        }
    }

    /// Notes that the coupons of a campaign are added as far as `sequence`.
    pub(super) fn note_through(&mut self, number: u32, sequence: u32) {
        self.through.insert(number, sequence);
    }

    /// The sequence numbers that a key leads to, ascending.
    pub(super) fn sequences(&self, key: Key) -> Vec<u32> {
        let recent = self.recent.iter().filter(|claim| claim.key == key);
        let mut sequences: Vec<_> = recent.map(|claim| claim.sequence).collect();
        for run in &self.runs {
            let first = run.partition_point(|claim| claim.key < key);
            let claims = run[first..].iter().take_while(|claim| claim.key == key);
            sequences.extend(claims.map(|claim| claim.sequence));
        }
        sequences.sort_unstable();
        sequences
    }

    /// The claims with the hash of `first` that are not less than it, at least the first `max` of them, in no order.
    pub(super) fn claims_from(&self, first: Claim, max: usize) -> Vec<Claim> {
        let is_wanted = |claim: &Claim| claim.key.hash == first.key.hash && *claim >= first;
        let mut claims: Vec<_> =
            self.recent.iter().copied().filter(|claim| is_wanted(claim)).collect();
        for run in &self.runs {
            let start = run.partition_point(|claim| *claim < first);
            let wanted = run[start..].iter().take_while(|claim| is_wanted(claim));
            claims.extend(wanted.take(max));
        }
        claims
    }

    /// All claims, in order.
    pub(super) fn sorted(&self) -> Vec<Claim> {
        let mut claims = self.recent.clone();
        claims.sort_unstable();
        self.runs.iter().rev().fold(claims, |claims, run| merged(run, &claims))
    }

    /// How far the coupons of campaigns were added: pairs of campaign number and sequence number.
    pub(super) fn through(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.through.iter().map(|(number, sequence)| (*number, *sequence))
    }
}

/// The claims of two runs, in order.
fn merged(left: &[Claim], right: &[Claim]) -> Vec<Claim> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter(), right.iter());
    let (mut next_left, mut next_right) = (left.next(), right.next());
    while let (Some(one), Some(other)) = (next_left, next_right) {
        if one <= other {
            merged.push(*one);
            next_left = left.next();
        } else {
            merged.push(*other);
            next_right = right.next();
        }
    }
    merged.extend(next_left.into_iter().chain(left));
    merged.extend(next_right.into_iter().chain(right));
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn claims_are_found_and_come_out_in_order(
            hashes in proptest::collection::vec((0..200_u64, 0..3_u32), 0..5_000),
        ) {
            let mut memtable = Memtable::default();
            let mut expected = Vec::new();
            for (&(hash, number), sequence) in hashes.iter().zip(1..) {
                let claim = Claim { key: Key { hash, number }, sequence };
                memtable.insert(claim);
                expected.push(claim);
            }
            prop_assert_eq!(memtable.len(), expected.len());
            for key in [Key { hash: 0, number: 0 }, Key { hash: 100, number: 2 }] {
                let of_key = expected.iter().filter(|claim| claim.key == key);
                let sequences: Vec<_> = of_key.map(|claim| claim.sequence).collect();
                prop_assert_eq!(memtable.sequences(key), sequences);
            }
            expected.sort_unstable();
            for (number, max) in [(0, 3), (1, usize::MAX)] {
                let first = Claim { key: Key { hash: 100, number }, sequence: 2_500 };
                let mut found = memtable.claims_from(first, max);
                found.sort_unstable();
                found.truncate(max);
                let of_hash = expected.iter().filter(|claim| claim.key.hash == 100);
                let wanted: Vec<_> = of_hash.filter(|claim| **claim >= first).copied().collect();
                prop_assert_eq!(found, &wanted[..wanted.len().min(max)]);
            }
            prop_assert_eq!(memtable.sorted(), expected);
        }
    }
}
