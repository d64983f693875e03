//! The index of a replica's coupons: from a request, and from a recipient, to sequence numbers.
//!
//! Keys are random, and nearly all look-ups are for keys that do not exist. So the index is made of hashes:
//! - A row is a [`Claim`] that a key with some hash belongs to a coupon (`claim`). It counts only if the coupon says
//!   the same.
//! - The newest claims are in memory (`delta`). When they are many, they become a file of claims in order (`table`),
//!   and tables are merged (`tables`), on a thread of the index.
//! - A filter over all keys (`filter`) answers look-ups for absent ones.
//!
//! The index follows from the coupons. It is not part of a snapshot, a backup or a digest. What it lacks is made again
//! from the coupons when it is opened (`rebuild`), as the tables say how far they go; all of it where the two do not
//! match.

mod claim;
mod delta;
mod filter;
mod rebuild;
mod table;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use coupon_cluster::{RequestId, ShardId};
use coupon_proto::internal as pb;
use parking_lot::{Condvar, Mutex, RwLock};

use self::claim::{Claim, Key, KeyHasher, narrow};
use self::delta::Delta;
use self::filter::Filter;
use self::table::Table;
use self::tables::{TableDir, merge_start};
use super::flusher::Flusher;
use super::keys::StateKeys;
use super::{Storage, StorageError};

/// Claims in memory that make a table on disk: those of 50,000 coupons, 1.6 MB. So many are made again after a crash.
/// The unit tests have small tables.
const TABLE_CLAIMS: usize = if cfg!(test) { 64 } else { 100_000 };

/// Maximum number of full deltas that wait for the disk, which takes its time while tables are merged.
const FULL_MAX: usize = 4;

/// The index of one generation of a replica's state.
pub(super) struct Index {
    dir: TableDir,
    hasher: KeyHasher,
    contents: Mutex<Contents>,
    /// Notified when a full delta is on disk.
    has_room: Condvar,
    filter: Filter,
    tasks: Mutex<Tasks>,
    is_closing: AtomicBool,
}

/// Tables that are open together.
type Tables = Arc<[Arc<Table>]>;

struct Contents {
    layers: Layers,
    /// Whether a thread writes the full deltas.
    is_writing: bool,
}

#[derive(Default)]
struct Tasks {
    write: Option<JoinHandle<()>>,
    load: Option<JoinHandle<()>>,
}

/// All claims at one moment. Sequence numbers of a campaign ascend from layer to layer, and in each.
#[derive(Clone, Default)]
pub(super) struct Layers {
    /// The tables, the oldest first.
    tables: Tables,
    /// The deltas that are on their way to disk, the oldest first.
    full: Vec<Arc<RwLock<Delta>>>,
    /// The newest claims. It still grows.
    active: Arc<RwLock<Delta>>,
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
}

impl Layers {
    /// The claims in memory, the oldest first.
    fn deltas(&self) -> impl DoubleEndedIterator<Item = &RwLock<Delta>> {
        self.full.iter().map(|full| &**full).chain(std::iter::once(&*self.active))
    }

    /// These layers beneath one that nobody else sees.
    pub(super) fn beneath_a_private_one(mut self) -> Self {
        self.full.push(std::mem::take(&mut self.active));
        self.is_private = true;
        self
    }
}

impl Index {
    /// All claims there are, and those that are added later until the active delta is full.
    pub(super) fn layers(&self) -> Layers {
        self.contents.lock().layers.clone()
    }

    /// Fetches what look-ups of requests and recipients in campaigns will read of the filter. One after the other, each
    /// of them would wait for memory.
    pub(super) fn look_ahead<'a>(&self, keys: impl Iterator<Item = (u32, &'a RequestId, &'a str)>) {
        self.filter.fetch(keys.flat_map(|(number, request, recipient)| {
            let keys =
                [self.hasher.request(number, request), self.hasher.recipient(number, recipient)];
            keys.map(Key::spread)
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
        for sequence in self.claimed(layers, self.hasher.request(number, request), 0) {
            let sequence = sequence?;
            let coupon = coupons.coupon(number, sequence)?;
            if coupon.is_some_and(|coupon| coupon.request_id == request.as_bytes()) {
                return Ok(Some(sequence));
            }
        }
        Ok(None)
    }

    /// The sequence numbers, ascending, of the coupons that a recipient holds of a campaign, if they are at least
    /// `limit`.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn held_at_limit(
        &self,
        layers: &Layers,
        coupons: &impl Coupons,
        number: u32,
        recipient: &str,
        limit: usize,
    ) -> Result<Option<Vec<u64>>, StorageError> {
        let claimed: Vec<u64> =
            self.claimed_by(layers, number, recipient, 0).collect::<Result<_, _>>()?;
        // Fewer claims than that need no check: each coupon has one.
        if claimed.len() < limit {
            return Ok(None);
        }
        let mut held = Vec::with_capacity(claimed.len());
        for sequence in claimed {
            let coupon = coupons.coupon(number, sequence)?;
            if coupon.is_some_and(|coupon| coupon.recipient == recipient) {
                held.push(sequence);
            }
        }
        Ok((held.len() >= limit).then_some(held))
    }

    /// Sequence numbers, greater than `after`, ascending: those of all coupons that a recipient holds of a campaign,
    /// and perhaps others.
    pub(super) fn claimed_by<'a>(
        &'a self,
        layers: &'a Layers,
        number: u32,
        recipient: &str,
        after: u64,
    ) -> impl Iterator<Item = Result<u64, StorageError>> + use<'a> {
        self.claimed(layers, self.hasher.recipient(number, recipient), after)
    }

    fn claimed<'a>(
        &'a self,
        layers: &'a Layers,
        key: Key,
        after: u64,
    ) -> impl Iterator<Item = Result<u64, StorageError>> + use<'a> {
        let first = u32::try_from(after).ok().and_then(|after| after.checked_add(1));
        let may_exist = self.filter.may_contain(key.spread());
        let tables = if may_exist { &*layers.tables } else { &[] };
        let deltas = (may_exist || layers.is_private).then(|| layers.deltas());
        let on_disk =
            tables.iter().zip(std::iter::repeat(first)).flat_map(move |(table, first)| {
                let first = first.map(|sequence| Claim { key, sequence });
                let claims = first.map(|first| table.claims_from(first)).into_iter().flatten();
                claims
                    .take_while(move |claim| claim.as_ref().map_or(true, |claim| claim.key == key))
            });
        let on_disk = on_disk.map(|claim| claim.map(|claim| u64::from(claim.sequence)));
        let in_memory = deltas.into_iter().flatten().flat_map(move |delta| {
            let sequences = delta.read().sequences(key).into_iter().map(u64::from);
            sequences.filter(move |sequence| *sequence > after)
        });
        on_disk.chain(in_memory.map(Ok))
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
            self.filter.insert(key.spread());
        };
        insert(self.hasher.request(number, request));
        if !recipient.is_empty() {
            insert(self.hasher.recipient(number, recipient));
        }
        active.note_through(number, sequence);
    }

    /// Begins to move the claims in memory to disk if there are enough of them. All their coupons are in the state.
    /// Waits while too many are on their way.
    pub(super) fn spill(self: &Arc<Self>, storage: &Storage) {
        let mut contents = self.contents.lock();
        if contents.layers.active.read().len() < TABLE_CLAIMS {
            return;
        }
        while contents.layers.full.len() >= FULL_MAX && !self.is_closing() {
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

    /// Writes the full deltas as tables, until there are no more.
    fn write_tables(&self, flusher: &Flusher) -> Result<(), StorageError> {
        // Of this thread alone, on Linux: it gives way to the threads that answer callers. Where that is not
        // allowed, it competes with them.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        while let Some((full, tables)) = self.next_to_write() {
            // No table is ahead of the state.
            flusher.wait_durable();
            let table = self.dir.add(&tables, &full.read())?;
            {
                let mut contents = self.contents.lock();
                contents.layers.full.remove(0);
                contents.layers.tables = tables.iter().cloned().chain([Arc::new(table)]).collect();
                self.has_room.notify_all();
            }
            self.merge_tables()?;
            self.replace_filter()?;
        }
        Ok(())
    }

    fn next_to_write(&self) -> Option<(Arc<RwLock<Delta>>, Tables)> {
        let mut contents = self.contents.lock();
        let next = contents.layers.full.first().filter(|_| !self.is_closing()).cloned();
        contents.is_writing = next.is_some();
        if next.is_none() {
            self.has_room.notify_all();
        }
        Some((next?, contents.layers.tables.clone()))
    }

    /// Merges tables until there are few enough.
    fn merge_tables(&self) -> Result<(), StorageError> {
        loop {
            let tables = self.layers().tables;
            let Some(start) = merge_start(&tables) else { return Ok(()) };
            let (kept, merged) = tables.split_at(start);
            let Some(table) = self.dir.merge(merged, || self.is_closing())? else { return Ok(()) };
            self.contents.lock().layers.tables =
                kept.iter().cloned().chain([Arc::new(table)]).collect();
            merged.iter().try_for_each(|table| table.remove())?;
        }
    }

    /// Adds all keys to the newest segment of the filter, if it has grown, and drops the others.
    fn replace_filter(&self) -> Result<(), StorageError> {
        let Some(grown) = self.filter.grown() else { return Ok(()) };
        // Later claims are in that segment already.
        let layers = self.layers();
        for claim in layers.tables.iter().flat_map(|table| table.claims_from(Claim::FIRST)) {
            grown.insert(claim?.key.spread());
            if self.is_closing() {
                return Ok(());
            }
        }
        for delta in layers.deltas() {
            let claims = delta.read().sorted();
            claims.into_iter().for_each(|claim| grown.insert(claim.key.spread()));
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
    let work = move || work().unwrap_or_else(|fault| super::fatal::abort(name, &fault));
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.expect("the operating system has room for a thread")
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        super::fatal::abort("index", &"a thread of it panicked");
    }
}
