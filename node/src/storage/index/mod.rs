//! The index of a replica's coupons: from a request, and from a recipient, to sequence numbers.
//!
//! Keys are random, and nearly all look-ups are for keys that do not exist. So the index is a small LSM tree of hashes:
//! - An entry is a [`Claim`]: the hash of a key, and a coupon that it may belong to (`claim`). Hashes can collide, so
//!   a claim counts only if the coupon confirms it.
//! - The newest claims are in a memtable (`memtable`). When it is full, or all of the node hold too much
//!   (`memtable_limit`), a thread of the index flushes it to a sorted file (`table`) and compacts files (`tables`).
//! - A Bloom filter over all keys (`filter`) answers look-ups for absent ones.
//! - The claims of a recipient stand together, whatever their campaign, so that one search finds all that a recipient
//!   holds (`recipient`).
//!
//! Claims of a campaign that is deleted lead to no coupon. They are dropped when their tables are compacted.
//!
//! The index is derived from the coupons. It is not part of a snapshot, a backup or a digest. Tables record how far
//! they go; what they lack is rebuilt from the coupons when the index is opened (`rebuild`). Tables that do not match
//! the coupons are removed, and everything is rebuilt.

mod claim;
mod filter;
mod memtable;
mod memtable_limit;
mod rebuild;
mod recipient;
mod table;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coupon_cluster::{RequestId, ShardId};
use coupon_proto::internal as pb;
use parking_lot::{Condvar, Mutex, RwLock};

use self::claim::{Claim, Key, KeyHasher, narrow};
use self::filter::Filter;
use self::memtable::Memtable;
pub(super) use self::memtable_limit::MemtableLimit;
use self::memtable_limit::MemtableShare;
pub use self::recipient::CouponPlace;
use self::table::Table;
use self::tables::{Merge, STEP_CLAIMS, TableDir, pick_compaction};
use super::flusher::Flusher;
use super::keys::StateKeys;
use super::{Storage, StorageError};

/// Number of claims at which a memtable is flushed: those of 50,000 coupons, 1.6 MB. A crash loses at most these and
/// those of full memtables, which are then rebuilt. Unit tests have small tables.
const TABLE_CLAIMS: usize = if cfg!(test) { 64 } else { 100_000 };

/// The pause after a compaction for which the disk has no room: each attempt takes what there is for a moment.
const COMPACTION_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 60 });

/// The index of one generation of a replica's state.
pub(super) struct Index {
    dir: TableDir,
    hasher: KeyHasher,
    contents: Mutex<Contents>,
    /// Notified when a full memtable is on disk.
    has_room: Condvar,
    filter: Filter,
    /// The numbers of campaigns whose coupons are removed. Their claims lead nowhere, and compactions drop them.
    freed: Mutex<BTreeSet<u32>>,
    tasks: Mutex<Tasks>,
    is_closing: AtomicBool,
}

/// Tables that are open together.
type Tables = Arc<[Arc<Table>]>;

struct Contents {
    layers: Layers,
    /// Whether a thread writes the full memtables.
    is_writing: bool,
    /// What the memtables hold, within the limit of the node.
    share: MemtableShare,
    /// When tables may be compacted again.
    compacted_after: Option<Instant>,
}

impl Contents {
    /// Counts the claims in memory.
    fn note_share(&mut self) {
        let claims = self.layers.memtables().map(|memtable| memtable.read().len()).sum();
        self.share.note(claims);
    }
}

#[derive(Default)]
struct Tasks {
    write: Option<JoinHandle<()>>,
    load: Option<JoinHandle<()>>,
}

/// All claims: tables and full memtables as they were, and the active memtable, which still grows. Sequence numbers
/// of a campaign ascend from layer to layer, and in each.
#[derive(Clone, Default)]
pub(super) struct Layers {
    /// The tables, the oldest first.
    tables: Tables,
    /// The memtables that are on their way to disk, the oldest first.
    full: Vec<Arc<RwLock<Memtable>>>,
    /// The newest claims. It still grows.
    active: Arc<RwLock<Memtable>>,
    /// Whether the filter need not know the claims of `active`.
    is_private: bool,
}

/// Where the coupons are that claims are checked against.
pub(super) trait Coupons {
    /// The coupon of a campaign with a sequence number, if there is one.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    fn coupon(&self, number: u32, sequence: u64) -> Result<Option<pb::CouponRecord>, StorageError>;

    /// Whether a coupon was voided and returned its quota.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    fn has_returned_quota(&self, number: u32, sequence: u64) -> Result<bool, StorageError>;
}

impl Layers {
    /// The claims in memory, the oldest first.
    fn memtables(&self) -> impl DoubleEndedIterator<Item = &RwLock<Memtable>> {
        self.full.iter().map(|full| &**full).chain(std::iter::once(&*self.active))
    }

    /// These layers with a new active memtable that only the caller sees.
    pub(super) fn with_private_memtable(mut self) -> Self {
        self.full.push(std::mem::take(&mut self.active));
        self.is_private = true;
        self
    }
}

impl Index {
    /// All claims there are, and those that are added later until the active memtable is full.
    pub(super) fn layers(&self) -> Layers {
        self.contents.lock().layers.clone()
    }

    /// Prefetches the cache lines of the filter that look-ups of these requests and recipients will read. Otherwise
    /// each look-up would wait for memory by itself.
    pub(super) fn prefetch<'a>(&self, keys: impl Iterator<Item = (u32, &'a RequestId, &'a str)>) {
        self.filter.prefetch(keys.flat_map(|(number, request, recipient)| {
            let keys =
                [self.hasher.request(number, request), self.hasher.recipient(number, recipient)];
            keys.map(Key::filter_hash)
        }));
    }

    /// The sequence number of the coupon that a request issued in a campaign.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn sequence_of_request(
        &self,
        layers: &Layers,
        coupons: &impl Coupons,
        number: u32,
        request: &RequestId,
    ) -> Result<Option<u64>, StorageError> {
        for sequence in self.newest_first(layers, self.hasher.request(number, request)) {
            let sequence = sequence?;
            let coupon = coupons.coupon(number, sequence)?;
            if coupon.is_some_and(|coupon| coupon.request_id == request.as_bytes()) {
                return Ok(Some(sequence));
            }
        }
        Ok(None)
    }

    /// The sequence numbers that a key is claimed for, descending.
    fn newest_first<'a>(
        &'a self,
        layers: &'a Layers,
        key: Key,
    ) -> impl Iterator<Item = Result<u64, StorageError>> + use<'a> {
        let (tables, memtables) = self.may_hold(layers, key);
        let in_memory = memtables.rev().flat_map(move |memtable| {
            let sequences = memtable.read().sequences(key);
            sequences.into_iter().rev().map(|sequence| Ok(u64::from(sequence)))
        });
        let on_disk = tables.iter().rev().flat_map(move |table| {
            let claims: Vec<_> = claims_of(table, key).collect();
            claims.into_iter().rev()
        });
        in_memory.chain(on_disk)
    }

    /// Where claims for a key may be: nearly always nowhere, unless there are some.
    fn may_hold<'a>(
        &self,
        layers: &'a Layers,
        key: Key,
    ) -> (&'a [Arc<Table>], impl DoubleEndedIterator<Item = &'a RwLock<Memtable>> + use<'a>) {
        let may_exist = self.filter.may_contain(key.filter_hash());
        let tables = if may_exist { &*layers.tables } else { &[] };
        let memtables = (may_exist || layers.is_private).then(|| layers.memtables());
        (tables, memtables.into_iter().flatten())
    }

    /// Adds a coupon: the request that issued it, and its recipient unless that is empty. It must be in the state
    /// before the next batch begins.
    pub(super) fn insert(
        &self,
        layers: &Layers,
        number: u32,
        sequence: u64,
        request: &RequestId,
        recipient: &str,
    ) {
        let sequence = narrow(sequence);
        let mut active = layers.active.write();
        let mut insert = |key: Key| {
            active.insert(Claim { key, sequence });
            self.filter.insert(key.filter_hash());
        };
        insert(self.hasher.request(number, request));
        if !recipient.is_empty() {
            insert(self.hasher.recipient(number, recipient));
        }
        active.note_through(number, sequence);
    }

    /// Notes that the coupons of a campaign are removed, once that is written.
    pub(super) fn note_freed(&self, number: u32) {
        self.freed.lock().insert(number);
    }

    /// Starts to flush the active memtable if it is full. All coupons in it must be in the state. Blocks while another
    /// one waits for the disk and the memtables of the node hold too much.
    pub(super) fn start_flush_if_full(self: &Arc<Self>, storage: &Storage) {
        let mut contents = self.contents.lock();
        contents.note_share();
        if contents.layers.active.read().len() < contents.share.flushed_at() {
            return;
        }
        while !contents.layers.full.is_empty() && contents.share.is_exceeded() && !self.is_closing()
        {
            self.has_room.wait(&mut contents);
        }
        if self.is_closing() {
            return;
        }
        let full = std::mem::take(&mut contents.layers.active);
        contents.layers.full.push(full);
        let is_writing = std::mem::replace(&mut contents.is_writing, true);
        drop(contents);
        let mut tasks = self.tasks.lock();
        if !is_writing && !self.is_closing() {
            // It has found nothing to do, and ends.
            join(tasks.write.take());
            let (index, flusher) = (self.clone(), storage.flusher().clone());
            let write = move || index.write_tables(&flusher);
            tasks.write = Some(spawn("index writer", write));
        }
    }

    /// Writes the full memtables as tables, until there are no more, and merges tables.
    fn write_tables(&self, flusher: &Flusher) -> Result<(), StorageError> {
        while self.write_full(flusher)? {
            self.merge_tables(flusher)?;
            self.replace_filter(flusher)?;
        }
        Ok(())
    }

    /// Writes all full memtables as tables. Returns whether there were any; if not, the thread must end, since the next
    /// one is started for those that come.
    fn write_full(&self, flusher: &Flusher) -> Result<bool, StorageError> {
        let mut any = false;
        while let Some((full, tables)) = self.next_to_write(any) {
            // No table is ahead of the state.
            flusher.wait_durable();
            let table = self.dir.add(&tables, &full.read())?;
            let mut contents = self.contents.lock();
            contents.layers.full.remove(0);
            contents.note_share();
            contents.layers.tables = tables.iter().cloned().chain([Arc::new(table)]).collect();
            self.has_room.notify_all();
            any = true;
        }
        Ok(any)
    }

    fn next_to_write(&self, was_busy: bool) -> Option<(Arc<RwLock<Memtable>>, Tables)> {
        let mut contents = self.contents.lock();
        let next = contents.layers.full.first().filter(|_| !self.is_closing()).cloned();
        if next.is_none() && !was_busy {
            contents.is_writing = false;
            self.has_room.notify_all();
        }
        Some((next?, contents.layers.tables.clone()))
    }

    /// Merges tables until there are few enough. Full memtables go to disk meanwhile. Without room on the disk it is put
    /// off: nothing is lost without it, and look-ups read more tables.
    fn merge_tables(&self, flusher: &Flusher) -> Result<(), StorageError> {
        loop {
            if self.contents.lock().compacted_after.is_some_and(|then| Instant::now() < then) {
                return Ok(());
            }
            let tables = self.layers().tables;
            let Some(places) = pick_compaction(&tables) else { return Ok(()) };
            let merged = &tables[places.clone()];
            let goes_on = || self.keep_up(flusher);
            let freed = self.freed.lock().clone();
            if !freed.is_empty() {
                // A removal that a power cut takes back needs its claims.
                flusher.wait_durable();
            }
            let table = match self.dir.merge(merged, &freed, goes_on)? {
                Merge::Done(table) => table,
                Merge::Ended => return Ok(()),
                Merge::NoRoom(fault) => {
                    tracing::warn!(%fault, "no disk space to compact an index: free some; compaction is retried");
                    self.contents.lock().compacted_after = Some(Instant::now() + COMPACTION_PAUSE);
                    return Ok(());
                }
            };
            {
                let mut contents = self.contents.lock();
                let now = &contents.layers.tables;
                let older = now[..places.start].iter().cloned();
                let newer = now[places.end..].iter().cloned();
                contents.layers.tables = older.chain([Arc::new(table)]).chain(newer).collect();
            }
            merged.iter().try_for_each(|table| table.remove())?;
        }
    }

    /// Writes the full memtables in the middle of longer work. Returns whether that goes on.
    fn keep_up(&self, flusher: &Flusher) -> Result<bool, StorageError> {
        while !self.is_closing() && !self.contents.lock().layers.full.is_empty() {
            self.write_full(flusher)?;
        }
        Ok(!self.is_closing())
    }

    /// Adds all keys to the newest segment of the filter, if it has grown, and drops the others.
    fn replace_filter(&self, flusher: &Flusher) -> Result<(), StorageError> {
        let Some(grown) = self.filter.grown() else { return Ok(()) };
        // Later claims are in that segment already.
        let layers = self.layers();
        for memtable in layers.memtables() {
            let claims = memtable.read().sorted();
            claims.into_iter().for_each(|claim| grown.insert(claim.key.filter_hash()));
        }
        let claims = layers.tables.iter().flat_map(|table| table.claims_from(Claim::FIRST));
        for (added, claim) in claims.enumerate() {
            grown.insert(claim?.key.filter_hash());
            if added.is_multiple_of(STEP_CLAIMS) && !self.keep_up(flusher)? {
                return Ok(());
            }
        }
        grown.replace();
        Ok(())
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Waits for the threads that work on it. What is added later stays in memory.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        let mut tasks = self.tasks.lock();
        join(tasks.write.take());
        join(tasks.load.take());
    }
}

/// The sequence numbers that a key is claimed for in a table, ascending.
fn claims_of(
    table: &Arc<Table>,
    key: Key,
) -> impl Iterator<Item = Result<u64, StorageError>> + use<> {
    let claims = table.claims_from(Claim { key, sequence: 0 });
    let of_key =
        claims.take_while(move |claim| claim.as_ref().map_or(true, |claim| claim.key == key));
    of_key.map(|claim| claim.map(|claim| u64::from(claim.sequence)))
}

/// Removes the index of a state that is gone. It must be closed.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn remove(storage: &Storage, keys: StateKeys) -> Result<(), StorageError> {
    tables::remove(&storage.index_dir().join(dir_name(keys)))
}

/// Removes the indexes of all states of a shard but one. They must be closed.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn remove_others(storage: &Storage, kept: StateKeys) -> Result<(), StorageError> {
    let dir = storage.index_dir();
    for entry in std::fs::read_dir(dir).map_err(StorageError::io(dir))? {
        let name = entry.map_err(StorageError::io(dir))?.file_name();
        let is_of_shard =
            name.to_str().is_some_and(|name| name.starts_with(&dir_prefix(kept.shard_id())));
        if is_of_shard && name != *dir_name(kept) {
            tables::remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// The name of the directory of the index of a state.
fn dir_name(keys: StateKeys) -> String {
    format!("{}{}", dir_prefix(keys.shard_id()), keys.generation())
}

fn dir_prefix(shard: ShardId) -> String {
    format!("shard-{}-generation-", shard.get())
}

/// How much the thread of an index gives way: two or three shares of a processor for one of its own.
const NICENESS: i32 = 5;

/// A thread whose fault ends the process.
fn spawn(
    name: &'static str,
    work: impl FnOnce() -> Result<(), StorageError> + Send + 'static,
) -> JoinHandle<()> {
    let work = move || {
        // Of this thread alone, on Linux: it gives way to the threads that answer callers. Where that is not
        // allowed, it competes with them.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        work().unwrap_or_else(|fault| super::fatal::abort(name, &fault));
    };
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.expect("the operating system has room for a thread")
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        super::fatal::abort("index", &"a thread of it panicked");
    }
}
