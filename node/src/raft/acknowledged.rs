//! The entries that members of a group once had on disk, as recorded in the log.
//!
//! In every entry, the leader records its committed index at that time, and how much of the committed log
//! each member had on disk. Such a record is about the past, and stays true whatever happens to the entry and
//! to the leader: a replica whose log is shorter has forgotten entries. So no terms need to be compared, and
//! any node that ever received the entry can tell that replica, even after a restart of the whole cluster.
//!
//! Caveat: the last entries before the group falls idle are covered only as far as the leader knew when it
//! made the last of them. While it leads it knows more, and says so in its messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coupon_proto::internal as pb;
use parking_lot::Mutex;
use prost::Message as _;

use super::terms::Terms;
use super::types::LogId;

/// Maximum number of replicas remembered. A group has a handful of members; beyond that, the oldest former
/// members, which have the smallest ids, are forgotten.
const REPLICAS_MAX: usize = 64;

/// The acknowledged indexes of one group. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    committed: AtomicU64,
    applied: AtomicU64,
    replicas: Mutex<BTreeMap<u64, u64>>,
    terms: Mutex<Terms>,
}

impl Acknowledged {
    /// The greatest index that is known to be committed; 0: none.
    pub fn committed(&self) -> u64 {
        self.0.committed.load(Ordering::Acquire)
    }

    /// Notes that everything up to `index` is committed.
    fn note_committed(&self, index: u64) {
        self.0.committed.fetch_max(index, Ordering::AcqRel);
    }

    /// The greatest index that this replica has applied; 0: none.
    pub fn applied(&self) -> u64 {
        self.0.applied.load(Ordering::Acquire)
    }

    /// Notes that this replica has applied everything up to `index`, so that it is committed.
    pub fn note_applied(&self, index: u64) {
        self.0.applied.fetch_max(index, Ordering::AcqRel);
        self.note_committed(index);
    }

    /// Notes who wrote what this replica has applied.
    pub fn note_terms(&self, terms: &Terms) {
        self.0.terms.lock().clone_from(terms);
    }

    /// The id of an entry that this replica has applied, whether its log still has it or not; `None` where
    /// that is not remembered.
    pub fn applied_id(&self, index: u64) -> Option<LogId> {
        if index > self.applied() {
            return None;
        }
        self.0.terms.lock().id_at(index)
    }

    /// The greatest committed index that a replica is known to have had on disk; 0: none.
    pub fn of(&self, replica: u64) -> u64 {
        self.0.replicas.lock().get(&replica).copied().unwrap_or(0)
    }

    /// Notes what a leader recorded: its committed index, and what each member had on disk.
    pub fn note(&self, committed: u64, members: impl IntoIterator<Item = (u64, u64)>) {
        self.note_committed(committed);
        let mut replicas = self.0.replicas.lock();
        for (replica, index) in members {
            // Capped at the committed index: the rest may be truncated.
            let index = index.min(committed);
            let known = replicas.entry(replica).or_default();
            *known = index.max(*known);
        }
        while replicas.len() > REPLICAS_MAX {
            // One that has not acknowledged anything for longest.
            let oldest = replicas.iter().min_by_key(|(_, index)| **index).map(|(id, _)| *id);
            oldest.and_then(|oldest| replicas.remove(&oldest));
        }
    }

    /// Learns from the payload of an entry. Returns whether it had a record. An unreadable entry has none;
    /// applying it fails later.
    pub fn learn(&self, payload: &[u8]) -> bool {
        let header = pb::LogHeader::decode(payload).unwrap_or_default();
        let members = header.acknowledged.iter().map(|one| (one.replica_id, one.index));
        self.note(header.committed_index, members);
        header.committed_index > 0
    }

    /// The record about these members for the next entry.
    pub fn header(&self, members: impl IntoIterator<Item = u64>) -> pb::LogHeader {
        let replicas = self.0.replicas.lock();
        let known = |replica_id| {
            let index = *replicas.get(&replica_id)?;
            (index > 0).then_some(pb::AcknowledgedIndex { replica_id, index })
        };
        let acknowledged = members.into_iter().filter_map(known).collect();
        pb::LogHeader { committed_index: self.committed(), acknowledged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_only_grows_and_is_bounded_by_what_is_committed() {
        let known = Acknowledged::default();
        assert_eq!((known.committed(), known.of(1)), (0, 0));
        known.note(10, [(1, 10), (2, 12), (3, 4)]);
        assert_eq!([1, 2, 3].map(|id| known.of(id)), [10, 10, 4]);
        known.note(9, [(1, 9), (3, 9)]);
        assert_eq!((known.committed(), known.of(1), known.of(3)), (10, 10, 9));
    }

    #[test]
    fn it_travels_in_the_entries_of_both_kinds_of_shards() {
        let leader = Acknowledged::default();
        leader.note(7, [(1, 7), (2, 5), (9, 3)]);
        let pb::LogHeader { committed_index, acknowledged } = leader.header([1, 2, 4]);
        let commands = vec![bytes::Bytes::from_static(b"abc")];
        let entry = pb::CommandEntry {
            log_time_micros: 5,
            commands,
            committed_index,
            acknowledged: acknowledged.clone(),
            ..Default::default()
        };
        let meta = pb::MetaCommand { committed_index, acknowledged, ..Default::default() };
        for payload in [entry.encode_to_vec(), meta.encode_to_vec()] {
            let follower = Acknowledged::default();
            assert!(follower.learn(&payload));
            assert_eq!(follower.committed(), 7);
            assert_eq!([1, 2, 4, 9].map(|id| follower.of(id)), [7, 5, 0, 0]);
        }
        let silent = pb::CommandEntry { log_time_micros: 5, ..Default::default() };
        assert!(!Acknowledged::default().learn(&silent.encode_to_vec()));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let known = Acknowledged::default();
        known.note(1_000, (1..=1_000).map(|id| (id, id)));
        assert_eq!((known.of(1_000), known.of(1)), (1_000, 0));
        assert_eq!(known.0.replicas.lock().len(), REPLICAS_MAX);
    }
}
