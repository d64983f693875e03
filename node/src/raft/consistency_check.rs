//! How far a replica has come, and what it held there.
//!
//! The leader of a data shard says in every entry of commands what it held at the last index it had
//! applied, and each replica that applies the entry compares that with what it held there itself. Replicas apply
//! the same entries to the same state, so a difference means that one of them has gone wrong, or that the
//! shard has two histories whose entries happen to have the same ids. It is unknown which: the one that
//! notices applies nothing any more, and the shard is stopped
//! ([`Divergence`](crate::shard::divergence::Divergence)).
//!
//! What was reached long ago, or before a snapshot was installed or the process started, is not kept. It
//! needs no comparing either, since a digest that once differs differs for ever.

use std::collections::VecDeque;
use std::sync::Arc;

use coupon_proto::internal as pb;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::storage::digest::Digest;

/// How many indexes are remembered: many more than a leader has entries in flight.
const MARKS_MAX: usize = 256;

/// This replica held something else at an index than the leader did.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("at index {index} this replica held something else than the leader: one of them is wrong")]
pub struct Diverged {
    /// Where.
    pub index: u64,
}

/// The latest indexes that a replica applied, and its digests there. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct AppliedDigests {
    marks: Arc<Mutex<VecDeque<(u64, Digest)>>>,
    difference: watch::Sender<Option<u64>>,
}

impl AppliedDigests {
    /// Says where a difference was found.
    pub fn differs_at(&self, index: u64) {
        self.difference.send_replace(Some(index));
    }

    /// The index of the difference, if one was found; now and whenever that changes.
    pub fn difference(&self) -> watch::Receiver<Option<u64>> {
        self.difference.subscribe()
    }

    /// Begins anew at an index.
    pub fn restart(&self, index: u64, digest: Digest) {
        *self.marks.lock() = VecDeque::from([(index, digest)]);
    }

    /// An index was applied: the one after the last.
    pub fn push(&self, index: u64, digest: Digest) {
        let mut marks = self.marks.lock();
        if marks.len() == MARKS_MAX {
            marks.pop_front();
        }
        marks.push_back((index, digest));
    }

    /// The last index applied, as it is said in an entry; `None` before there is one.
    pub fn last(&self) -> Option<pb::AppliedDigest> {
        let marks = self.marks.lock();
        let (index, digest) = marks.back()?;
        Some(pb::AppliedDigest { index: *index, digest: digest.to_vec() })
    }

    /// The latest indexes applied, `count` at most, ascending, with the first `digest_bytes` of their
    /// digests.
    pub fn latest(&self, count: usize, digest_bytes: usize) -> Vec<pb::AppliedDigest> {
        let marks = self.marks.lock();
        let shown = marks.iter().skip(marks.len().saturating_sub(count));
        let cut = |digest: &Digest| digest.iter().copied().take(digest_bytes).collect();
        shown
            .map(|(index, digest)| pb::AppliedDigest { index: *index, digest: cut(digest) })
            .collect()
    }

    /// Compares what a leader said in an entry.
    ///
    /// # Errors
    ///
    /// When this replica remembers the index, and held something else there.
    pub fn compare(&self, leader: &pb::AppliedDigest) -> Result<(), Diverged> {
        let marks = self.marks.lock();
        // From the end: what a leader says is seldom more than a few entries old.
        let own = marks.iter().rev().find(|(index, _)| *index <= leader.index);
        match own {
            Some((index, digest)) if *index == leader.index && digest[..] != leader.digest[..] => {
                Err(Diverged { index: *index })
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(index: u64, digest: u8) -> pb::AppliedDigest {
        pb::AppliedDigest { index, digest: vec![digest; 32] }
    }

    #[test]
    fn a_difference_at_an_index_that_is_remembered_is_found() {
        let applied_digests = AppliedDigests::default();
        assert_eq!(applied_digests.last(), None);
        applied_digests.restart(4, [4; 32]);
        applied_digests.push(5, [5; 32]);
        assert_eq!(applied_digests.last(), Some(mark(5, 5)));
        for leader in [mark(5, 5), mark(4, 4), mark(3, 9), mark(6, 9)] {
            assert_eq!(applied_digests.compare(&leader), Ok(()), "{leader:?}");
        }
        assert_eq!(applied_digests.compare(&mark(4, 5)), Err(Diverged { index: 4 }));
        applied_digests.restart(9, [9; 32]);
        assert_eq!(applied_digests.compare(&mark(4, 5)), Ok(()), "it is not remembered");
    }

    #[test]
    fn it_does_not_grow() {
        let applied_digests = AppliedDigests::default();
        for index in 1..=1_000 {
            applied_digests.push(index, [0; 32]);
        }
        assert_eq!(applied_digests.marks.lock().len(), MARKS_MAX);
        assert!(applied_digests.compare(&mark(1_000 - 255, 1)).is_err());
        assert!(applied_digests.compare(&mark(1_000 - 256, 1)).is_ok());
    }
}
