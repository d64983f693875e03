//! The log of one replica in RocksDB.
//!
//! Invariants:
//! - A vote, an append, a truncation and a purge are durable before they are reported so.
//! - Appends are reported by the flusher, in one go for all shards; the core goes on meanwhile.
//! - The tail of the log is also in memory, since replication and apply read what was just written.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use coupon_cluster::{ReplicaId, ShardId};
use coupon_ledger::mutants::{self, Mutant};
use coupon_proto::internal as pb;
use coupon_trace::{Stage, mark};
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use parking_lot::Mutex;
use prost::Message as _;
use rocksdb::{IteratorMode, ReadOptions, WriteBatch};

use super::acknowledged::Acknowledged;
use super::marks;
use super::types::{
    Entry, LogId, TypeConfig, Vote, entry_bytes, entry_from_pb, entry_to_pb, log_id_from_pb,
    log_id_to_pb, vote_from_pb, vote_to_pb,
};
use crate::storage::keys::LogKeys;
use crate::storage::{Storage, StorageError, fatal};

/// How much of the log's tail is kept in memory for each replica. A follower that is further
/// behind is fed from disk.
const TAIL_BYTES_MAX: usize = 4 << 20;
/// How many bytes of entries one read returns at most (always at least one entry), which bounds
/// what replication holds for a follower.
const READ_BYTES_MAX: usize = 1 << 20;
/// Maximum number of entries read on opening to find one with a record of acknowledged indexes. Only blank
/// entries, membership changes and the first entries of a group lack one.
const HEADER_SEARCH_MAX: usize = 256;

/// The log of one replica. Clones are readers of the same log.
#[derive(Clone)]
pub struct LogStore {
    storage: Storage,
    keys: LogKeys,
    shared: Arc<Mutex<Shared>>,
    acknowledged: Acknowledged,
}

#[derive(Default)]
struct Shared {
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    appended_bytes: u64,
}

impl Shared {
    fn push(&mut self, entry: Entry) {
        let bytes = entry_bytes(&entry);
        self.last = Some(entry.log_id);
        self.tail_bytes += bytes;
        self.appended_bytes += bytes as u64;
        self.tail.push_back(entry);
        while self.tail_bytes > TAIL_BYTES_MAX && self.tail.len() > 1 {
            if let Some(oldest) = self.tail.pop_front() {
                self.tail_bytes -= entry_bytes(&oldest);
            }
        }
    }

    fn drop_after(&mut self, index: Option<u64>) {
        while self.tail.back().is_some_and(|entry| Some(entry.log_id.index) > index) {
            if let Some(newest) = self.tail.pop_back() {
                self.tail_bytes -= entry_bytes(&newest);
            }
        }
    }

    fn drop_until(&mut self, index: u64) {
        while self.tail.front().is_some_and(|entry| entry.log_id.index <= index) {
            if let Some(oldest) = self.tail.pop_front() {
                self.tail_bytes -= entry_bytes(&oldest);
            }
        }
    }

    /// The entry at an index, if memory has it.
    fn get(&self, index: u64) -> Option<&Entry> {
        let first = self.tail.front()?.log_id.index;
        self.tail.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// The entries of `start..end`, if memory has the first of them; cut at `bytes_max`.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.tail.front()?.log_id.index;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        let wanted = usize::try_from(end.saturating_sub(start)).ok()?;
        let mut bytes = 0;
        let entries = self.tail.iter().skip(skip).take(wanted).take_while(|entry| {
            let fits = bytes == 0 || bytes + entry_bytes(entry) <= bytes_max;
            bytes += entry_bytes(entry);
            fits
        });
        Some(entries.cloned().collect())
    }
}

impl LogStore {
    /// Opens the log of a replica.
    ///
    /// # Errors
    ///
    /// When what is on disk cannot be read.
    pub fn open(
        storage: Storage,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<Self, StorageError> {
        let keys = LogKeys::new(shard, replica);
        let db = storage.db();
        let purged = db
            .get_pinned_cf(storage.meta(), keys.purged())?
            .map(|bytes| decode::<pb::LogId>("purge mark", &bytes))
            .transpose()?
            .map(|id| log_id_from_pb(&id));
        let vote = db
            .get_pinned_cf(storage.meta(), keys.vote())?
            .map(|bytes| decode::<pb::Vote>("vote", &bytes))
            .transpose()?
            .map(|vote| vote_from_pb(&vote));
        let last_entry = db
            .iterator_cf(
                storage.log(),
                IteratorMode::From(&keys.entry(u64::MAX), rocksdb::Direction::Reverse),
            )
            .next()
            .transpose()?
            .filter(|(key, _)| keys.index_of(key).is_some())
            .map(|(_, value)| decode_entry(&value))
            .transpose()?;
        let last = last_entry.map(|entry| entry.log_id).max(purged);
        let shared = Arc::new(Mutex::new(Shared { last, purged, vote, ..Shared::default() }));
        let log = Self { storage, keys, shared, acknowledged: Acknowledged::default() };
        log.remember()?;
        Ok(log)
    }

    /// Learns from the newest entry that has a record.
    fn remember(&self) -> Result<(), StorageError> {
        let end = self.keys.entry(u64::MAX);
        let newest_first = IteratorMode::From(&end, rocksdb::Direction::Reverse);
        let rows = self.storage.db().iterator_cf(self.storage.log(), newest_first);
        for row in rows.take(HEADER_SEARCH_MAX) {
            let (key, value) = row?;
            if self.keys.index_of(&key).is_none() || self.learn(&decode_entry(&value)?) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Learns from an entry. Returns whether it had a record.
    fn learn(&self, entry: &Entry) -> bool {
        match &entry.payload {
            EntryPayload::Normal(proposal) => self.acknowledged.learn(&proposal.0),
            EntryPayload::Blank | EntryPayload::Membership(_) => false,
        }
    }

    /// The indexes known to be committed, and to be on the members' disks.
    pub fn acknowledged(&self) -> &Acknowledged {
        &self.acknowledged
    }

    /// The last index in the log; 0: none.
    pub fn last_index(&self) -> u64 {
        self.shared.lock().last.map_or(0, |id| id.index)
    }

    /// The last vote on disk.
    pub fn vote(&self) -> Option<Vote> {
        self.shared.lock().vote
    }

    /// The id of the entry at an index; `None` when there is none, or it was purged.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn log_id_at(&self, index: u64) -> Result<Option<LogId>, StorageError> {
        {
            let shared = self.shared.lock();
            let ends = [shared.last, shared.purged];
            if let Some(end) = ends.into_iter().flatten().find(|end| end.index == index) {
                return Ok(Some(end));
            }
            if let Some(entry) = shared.get(index) {
                return Ok(Some(entry.log_id));
            }
        }
        let found = self.storage.db().get_pinned_cf(self.storage.log(), self.keys.entry(index))?;
        found.map(|bytes| Ok(decode_entry(&bytes)?.log_id)).transpose()
    }

    /// How many bytes of entries were appended since the log was opened.
    pub fn appended_bytes(&self) -> u64 {
        self.shared.lock().appended_bytes
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.shared.lock().read(start, end, bytes_max) {
            return Ok(entries);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(self.keys.entry(end));
        let first = self.keys.entry(start);
        let mode = IteratorMode::From(&first, rocksdb::Direction::Forward);
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for item in self.storage.db().iterator_cf_opt(self.storage.log(), options, mode) {
            let (_, value) = item?;
            let entry = decode_entry(&value)?;
            // Whoever applies or sends an entry trusts that it is the next one. Only what is before the
            // beginning of the log may be missing.
            let is_next = match entries.last() {
                Some(last) => entry.log_id.index == last.log_id.index + 1,
                None => {
                    entry.log_id.index == start || self.first_index()? == Some(entry.log_id.index)
                }
            };
            if !is_next {
                let why =
                    format!("there is a hole before the entry at index {}", entry.log_id.index);
                return Err(StorageError::corrupt("log", why));
            }
            bytes += entry_bytes(&entry);
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Where the log begins: after what was purged, if anything was, else with its first entry.
    fn first_index(&self) -> Result<Option<u64>, StorageError> {
        if let Some(purged) = self.shared.lock().purged {
            return Ok(Some(purged.index + 1));
        }
        let first = self.keys.entry(0);
        let mode = IteratorMode::From(&first, rocksdb::Direction::Forward);
        let first = self.storage.db().iterator_cf(self.storage.log(), mode).next().transpose()?;
        Ok(first.and_then(|(key, _)| self.keys.index_of(&key)))
    }

    fn delete(&self, batch: &mut WriteBatch, from: u64, until: u64) {
        batch.delete_range_cf(self.storage.log(), self.keys.entry(from), self.keys.entry(until));
    }
}

fn decode<M: prost::Message + Default>(
    what: &'static str,
    bytes: &[u8],
) -> Result<M, StorageError> {
    M::decode(bytes).map_err(|error| StorageError::corrupt(what, error))
}

fn decode_entry(bytes: &[u8]) -> Result<Entry, StorageError> {
    entry_from_pb(decode("log entry", bytes)?)
        .map_err(|error| StorageError::corrupt("log entry", error))
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.read(start, end, usize::MAX)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.lock().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read(start, end, READ_BYTES_MAX)?)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let shared = self.shared.lock();
        Ok(LogState { last_purged_log_id: shared.purged, last_log_id: shared.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.storage.meta(), self.keys.vote(), vote_to_pb(vote).encode_to_vec());
        self.storage.write(batch)?;
        self.storage.flusher().durable().await;
        self.shared.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let subject = marks::entries(self.keys.shard_id(), self.keys.replica_id().0, &entries);
        mark(Stage::AppendCalled, subject);
        let mut batch = WriteBatch::default();
        for entry in &entries {
            self.learn(entry);
            batch.put_cf(
                self.storage.log(),
                self.keys.entry(entry.index()),
                entry_to_pb(entry).encode_to_vec(),
            );
        }
        self.storage.write(batch)?;
        mark(Stage::Appended, subject);
        let is_synced = !mutants::is(Mutant::AcknowledgedBeforeSync)
            || entries.iter().any(|entry| entry.index() % mutants::ENTRIES_PER_SYNC == 0);
        {
            let mut shared = self.shared.lock();
            entries.into_iter().for_each(|entry| shared.push(entry));
        }
        if !is_synced {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        let durable = move || {
            mark(Stage::Durable, subject);
            callback.io_completed(Ok(()));
        };
        self.storage.flusher().when_durable(Box::new(durable)).await;
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let keep = last_log_id.map(|id| id.index);
        let (end, applied) = (keep.unwrap_or(0), self.acknowledged.applied());
        if end < applied {
            // Checked earlier too (see `history`); this is the last chance to notice.
            let why = format!(
                "a leader asks to truncate the log after index {end}, but this replica has applied it \
                 up to {applied}: the shard has two histories"
            );
            fatal::abort("the log of a replica", &why);
        }
        let mut batch = WriteBatch::default();
        self.delete(&mut batch, keep.map_or(0, |index| index + 1), u64::MAX);
        {
            let mut shared = self.shared.lock();
            shared.drop_after(keep);
            if shared.last.map(|id| id.index) > keep {
                shared.last = last_log_id.max(shared.purged);
            }
        }
        self.storage.write(batch)?;
        self.storage.flusher().durable().await;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let from = {
            let mut shared = self.shared.lock();
            if Some(log_id) <= shared.purged {
                return Ok(());
            }
            let from = shared.purged.map_or(0, |id| id.index + 1);
            shared.drop_until(log_id.index);
            shared.purged = Some(log_id);
            shared.last = shared.last.max(Some(log_id));
            from
        };
        // Together, so that no crash leaves a log with a hole at its beginning and no mark, nor entries
        // that nobody would delete any more.
        let mut batch = WriteBatch::default();
        let mark = log_id_to_pb(&log_id).encode_to_vec();
        batch.put_cf(self.storage.meta(), self.keys.purged(), mark);
        self.delete(&mut batch, from, log_id.index + 1);
        self.storage.write(batch)?;
        self.storage.flusher().durable().await;
        Ok(())
    }
}
