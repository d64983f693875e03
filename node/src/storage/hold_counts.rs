//! How many holds of a campaign have expired, without counting all of them for each read.
//!
//! The counters of a campaign still have the holds that have expired since the last command about it: up to 100,000. Who
//! shows the counters leaves these out, and has to know how many they are. So what a read has counted is kept, in steps of
//! some hundred. The next read counts what has expired since, and what it needs of two steps.
//!
//! Those that have expired by the time of a read are the same ever after, because no later entry of the same leadership is
//! stamped with an earlier time: none of them is confirmed or released any more, and no new one is among them. They may be
//! forgotten, but only after the campaign has ceased to count them. So what is kept counts for one leadership, and from
//! the first hold on that the campaign counts.

use std::collections::HashMap;
use std::sync::Arc;

use coupon_ledger::{EndsFound, LogTime};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::keys::StateKeys;
use super::rows::Rows;
use super::{StorageError, hold_rows};

/// How many holds a step has, besides those that end at the same time as the last of them.
const STEP_HOLDS: u64 = 512;
/// Maximum number of campaigns of which steps are kept. With more, all are forgotten, and counted once more.
const CAMPAIGNS_MAX: usize = 256;

/// What was counted, by campaign.
type Campaigns = HashMap<(StateKeys, u32), Counted, RandomState>;

/// What was counted of the campaigns of a shard. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct HoldCounts(Arc<Mutex<Campaigns>>);

impl HoldCounts {
    /// As [`hold_ends`](coupon_ledger::StateReader::hold_ends) of all holds, for a read at `until` that a leader answers in
    /// a term.
    pub(super) fn hold_ends(
        &self,
        rows: &impl Rows,
        (keys, number): (StateKeys, u32),
        term: u64,
        from: LogTime,
        until: LogTime,
    ) -> Result<EndsFound, StorageError> {
        let known = self.0.lock().get(&(keys, number)).filter(|known| known.term == term).cloned();
        let mut counted = known.unwrap_or_else(|| Counted::nothing(term, from));
        let ends = |from| hold_rows::hold_ends_from(rows, keys, number, from);
        let found = counted.count(from, until, ends)?;
        // Few are counted soon enough.
        if counted.steps.len() > 1 {
            self.keep((keys, number), counted);
        }
        Ok(found)
    }

    fn keep(&self, campaign: (StateKeys, u32), counted: Counted) {
        let mut all = self.0.lock();
        let age = |counted: &Counted| (counted.term, counted.until);
        if all.get(&campaign).is_some_and(|other| age(other) > age(&counted)) {
            return;
        }
        if all.len() >= CAMPAIGNS_MAX && !all.contains_key(&campaign) {
            all.clear();
        }
        all.insert(campaign, counted);
    }
}

/// What was counted of a campaign in a term: all holds that end at `from` or later and no later than `until`.
#[derive(Clone, Debug)]
struct Counted {
    term: u64,
    from: LogTime,
    until: LogTime,
    /// By time. Holds that end at the same time are in one.
    steps: Vec<Step>,
}

/// Some holds that end one after another.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// None ends earlier.
    first: LogTime,
    /// When the last one ends.
    last: LogTime,
    count: u64,
}

impl Counted {
    fn nothing(term: u64, from: LogTime) -> Self {
        Self { term, from, until: LogTime(0), steps: Vec::new() }
    }

    /// How many holds end at `from` or later and no later than `until`, which is not before, and when the next one does.
    /// `ends` are those of a state from a time on, in order; it may be an older state than that of the last count.
    fn count<E, I: Iterator<Item = Result<LogTime, E>>>(
        &mut self,
        from: LogTime,
        until: LogTime,
        ends: impl Fn(LogTime) -> I,
    ) -> Result<EndsFound, E> {
        let count = |from: LogTime, before: LogTime| -> Result<u64, E> {
            let mut ended = 0;
            for end in ends(from) {
                if before <= end? {
                    break;
                }
                ended += 1;
            }
            Ok(ended)
        };
        let after = |time: LogTime| time.after_micros(1);
        let (mut ended, mut at) = (0, from);
        if at < self.from {
            at = self.from.min(after(until));
            ended += count(from, at)?;
        }
        let mut steps: Vec<Step> = Vec::new();
        for &step in self.steps.iter().filter(|step| from <= step.last) {
            if until < step.last {
                break;
            }
            let step = match at <= step.first {
                true => step,
                false => Step { first: at, count: count(at, after(step.last))?, ..step },
            };
            ended += step.count;
            at = after(step.last);
            steps.push(step);
        }
        let mut next = None;
        for end in ends(at) {
            let end = end?;
            if until < end {
                next = Some(end);
                break;
            }
            ended += 1;
            match steps.last_mut() {
                Some(step) if step.count < STEP_HOLDS || step.last == end => {
                    step.last = end;
                    step.count += 1;
                }
                _ => steps.push(Step { first: end, last: end, count: 1 }),
            }
        }
        if self.until <= until {
            (self.from, self.until, self.steps) = (self.from.max(from), until, steps);
        }
        Ok(EndsFound { ended, next })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use coupon_cluster::{RequestId, ShardId};
    use coupon_ledger::{Hold, HoldEnd, HoldState, Store as _};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::storage::Storage;
    use crate::storage::digest::Digest;
    use crate::storage::ledger::LedgerBatch;

    /// The ends of holds from a time on, and how many of them were looked at.
    fn ends<'a>(
        all: &'a [u64],
        seen: &'a Cell<usize>,
    ) -> impl Fn(LogTime) -> Box<dyn Iterator<Item = Result<LogTime, Infallible>> + 'a> {
        move |from| {
            let later = all.iter().filter(move |end| from.0 <= **end);
            Box::new(later.map(|end| {
                seen.set(seen.get() + 1);
                Ok(LogTime(*end))
            }))
        }
    }

    #[test]
    fn what_has_expired_is_counted_once() {
        let all: Vec<u64> = (1..=100_000).collect();
        let seen = Cell::new(0);
        let mut counted = Counted::nothing(1, LogTime(1));
        let mut look = |from, until| {
            seen.set(0);
            let Ok(found) = counted.count(LogTime(from), LogTime(until), ends(&all, &seen));
            assert_eq!(found.ended, until - from + 1);
            assert_eq!(found.next.map(|next| next.0), (until < 100_000).then_some(until + 1));
            seen.get()
        };
        assert_eq!(look(1, 90_000), 90_001);
        assert_eq!(look(1, 90_000), 1);
        assert_eq!(look(1, 90_100), 101);
        // A command has taken some out of the counters.
        let step = usize::try_from(STEP_HOLDS).unwrap();
        assert!(look(65, 90_100) <= step + 2);
        assert_eq!(look(65, 90_100), 1);
        // Reads of earlier states and times, which come late.
        assert!(look(1, 90_100) <= 66);
        assert!(look(65, 90_050) <= step + 2);
        assert_eq!(look(1, 100_000), 64 + 1 + 9_900);
    }

    /// They are no longer counted by then.
    #[test]
    fn holds_that_are_forgotten_make_no_difference() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).unwrap();
        let keys = StateKeys::new(ShardId::new(1).unwrap(), 0);
        let mut batch = LedgerBatch::new(&storage, keys, Digest::default()).unwrap();
        let id = |number: u64| RequestId::from_bytes(&u128::from(number).to_be_bytes()).unwrap();
        for number in 1..=2_000 {
            let (recipient, expires_at) = (String::new(), LogTime(number));
            let hold = Hold { recipient, held_at: LogTime(0), expires_at, state: HoldState::Open };
            batch.put_hold(7, id(number), &hold, None).unwrap();
        }
        let counts = HoldCounts::default();
        let count = |batch: &LedgerBatch<'_>, from, until| {
            let of = (keys, 7);
            let found = counts.hold_ends(batch, of, 1, LogTime(from), LogTime(until)).unwrap();
            (found.ended, found.next.map(|next| next.0))
        };
        assert_eq!(count(&batch, 1, 1_500), (1_500, Some(1_501)));
        for number in 1..=900 {
            let (at, hold_id) = (LogTime(number), id(number));
            batch.forget_hold(&HoldEnd { at, campaign_number: 7, hold_id }).unwrap();
        }
        assert_eq!(count(&batch, 901, 1_800), (900, Some(1_801)));
        assert_eq!(count(&batch, 901, 2_000), (1_100, None));
    }

    #[test]
    fn what_was_counted_in_another_term_does_not_count() {
        let (counts, keys) = (HoldCounts::default(), StateKeys::new(ShardId::new(1).unwrap(), 0));
        let counted = |term, until| {
            let until = LogTime(until);
            Counted { until, ..Counted::nothing(term, LogTime(0)) }
        };
        counts.keep((keys, 1), counted(2, 5));
        for (term, until, kept) in [(1, 9, (2, 5)), (2, 4, (2, 5)), (2, 6, (2, 6)), (3, 1, (3, 1))]
        {
            counts.keep((keys, 1), counted(term, until));
            let all = counts.0.lock();
            assert_eq!((all[&(keys, 1)].term, all[&(keys, 1)].until.0), kept);
        }
        for number in 2..500 {
            counts.keep((keys, number), counted(1, 1));
            assert!(counts.0.lock().len() <= CAMPAIGNS_MAX);
        }
    }

    proptest! {
        /// Whatever was asked before, the answer is that of somebody who counts.
        #[test]
        fn it_is_as_counted(
            all in vec(0..60_u64, 0..3_000),
            questions in vec((0..60_u64, 0..60_u64), 1..20),
        ) {
            let mut all = all;
            all.sort_unstable();
            let seen = Cell::new(0);
            let questions = questions.into_iter().map(|(one, other)| (one.min(other), one.max(other)));
            let mut counted = Counted::nothing(1, LogTime(30));
            for (from, until) in questions {
                let ends = ends(&all, &seen);
                let Ok(expected) = EndsFound::of(ends(LogTime(from)), LogTime(until), usize::MAX);
                let Ok(found) = counted.count(LogTime(from), LogTime(until), &ends);
                prop_assert_eq!(found, expected);
            }
        }
    }
}
