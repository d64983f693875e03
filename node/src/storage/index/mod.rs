//! The index of a replica's coupons: from a request, and from a recipient, to sequence numbers.
//!
//! Its rows have random keys, which a memtable takes for several microseconds each. So the newest rows stay in
//! hash tables (`delta`), and when there are enough of them, a thread writes them as one sorted table
//! that RocksDB ingests (`ingest`). Nearly all look-ups are for keys that do not exist; a filter over the keys
//! on disk (`filter`) answers those from memory.
//!
//! The index follows from the coupons:
//! - It is not part of a snapshot, a backup or a digest. What is missing is made again from the coupons when the
//!   index is opened (`rebuild`), as the record of the last sequence number indexed of each campaign says.
//! - It may be ahead of the state after a power cut, and may hold rows of a history that was given up. So a row on
//!   disk is a claim, which counts only if the coupon that it names says the same.

mod delta;
mod filter;
mod ingest;
mod rebuild;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use coupon_cluster::RequestId;
use coupon_proto::internal as pb;
use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};

pub(super) use self::delta::{Delta, Sequences};
use self::delta::{Indexed, limited_key, request_key, unlimited_key};
use self::filter::Filter;
use super::keys::{StateKeys, after_prefix, trailing_u64};
use super::ledger::sequences;
use super::{Storage, StorageError};

/// Rows in memory that make a table on disk: those of 49,152 coupons, which leave hash tables of 65,536 places
/// room for the rest of a batch. About twice as many are in memory at most, and so many are made again after a
/// crash. The unit tests have small tables.
const TABLE_ROWS: usize = if cfg!(test) { 64 } else { 2 * 49_152 };

/// The index of one generation of a replica's state.
pub(super) struct Index {
    keys: StateKeys,
    layers: RwLock<Layers>,
    filter: Filter,
    hasher: RandomState,
    tasks: Mutex<Tasks>,
    is_closing: AtomicBool,
}

#[derive(Default)]
struct Tasks {
    ingest: Option<JoinHandle<()>>,
    load: Option<JoinHandle<()>>,
}

/// The rows in memory at one moment. The newest layer still grows.
#[derive(Clone, Default)]
pub(super) struct Layers {
    active: Arc<RwLock<Delta>>,
    /// The one on its way to disk.
    older: Vec<Arc<RwLock<Delta>>>,
}

/// Where the coupons are that rows on disk are checked against.
pub(super) trait Coupons {
    /// The storage they are in.
    fn storage(&self) -> &Storage;

    /// The coupon of a campaign with a sequence number, if there is one.
    fn coupon(&self, number: u32, sequence: u64) -> Result<Option<pb::CouponRecord>, StorageError>;
}

impl Layers {
    fn newest_first(&self) -> impl Iterator<Item = &RwLock<Delta>> {
        std::iter::once(&*self.active).chain(self.older.iter().map(|layer| &**layer))
    }

    /// These layers beneath one that nobody else sees.
    pub(super) fn beneath_a_private_one(mut self) -> Self {
        self.older.insert(0, self.active);
        Self { active: Arc::default(), older: self.older }
    }
}

impl Index {
    /// The rows in memory. They contain every row that the disk does not have yet, now and later.
    pub(super) fn layers(&self) -> Layers {
        self.layers.read().clone()
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
        let key = request_key(number, request);
        let known =
            layers.newest_first().find_map(|layer| layer.read().requests.get(&key).copied());
        if known.is_some() || !self.filter.may_contain(self.hash(&key)) {
            return Ok(known);
        }
        let storage = coupons.storage();
        let Some(row) = storage.db().get_pinned_cf(storage.index(), self.keys.request(&key))?
        else {
            return Ok(None);
        };
        let claimed = sequences("request index", &row)?[0];
        let coupon = coupons.coupon(number, claimed)?;
        Ok(coupon.filter(|coupon| coupon.request_id == request.as_bytes()).map(|_| claimed))
    }

    /// The sequence numbers of the coupons that a recipient holds of a campaign with a limit, ascending.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn held_under_limit(
        &self,
        layers: &Layers,
        coupons: &impl Coupons,
        number: u32,
        recipient: &str,
    ) -> Result<Sequences, StorageError> {
        let key = limited_key(number, recipient);
        let mut layers = layers.newest_first();
        if let Some(held) = layers.find_map(|layer| layer.read().limited.get(&key[..]).cloned()) {
            return Ok(held);
        }
        let mut held = Sequences::new();
        if !self.filter.may_contain(self.hash(&key)) {
            return Ok(held);
        }
        let storage = coupons.storage();
        let row = self.keys.limited_recipient(&key);
        let row = storage.db().get_pinned_cf(storage.index(), row)?;
        let claimed = row.map(|row| sequences("recipient index", &row)).transpose()?;
        for sequence in claimed.unwrap_or_default() {
            let coupon = coupons.coupon(number, sequence)?;
            if coupon.is_some_and(|coupon| coupon.recipient == recipient) {
                held.push(sequence);
            }
        }
        Ok(held)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The sequence numbers, greater than `after`, of the coupons that a recipient holds of a campaign without a
    /// limit, ascending. They are claims, since those from disk may be.
    pub(super) fn held_without_limit<'a>(
        &self,
        storage: &'a Storage,
        layers: &Layers,
        number: u32,
        recipient: &str,
        after: u64,
    ) -> impl Iterator<Item = Result<u64, StorageError>> + use<'a> {
        let key = unlimited_key(number, recipient);
        let mut in_memory: Vec<u64> = layers
            .newest_first()
            .flat_map(|layer| layer.read().unlimited.get(&key[..]).cloned().unwrap_or_default())
            .filter(|sequence| *sequence > after)
            .collect();
        in_memory.sort_unstable();
        in_memory.dedup();
        let rows = self.keys.unlimited_recipients(&key);
        let mut options = rocksdb::ReadOptions::default();
        if let Some(end) = after_prefix(&rows) {
            options.set_iterate_upper_bound(end);
        }
        let mut first = rows;
        first.extend_from_slice(&after.saturating_add(1).to_be_bytes());
        let mode = rocksdb::IteratorMode::From(&first, rocksdb::Direction::Forward);
        let on_disk = storage.db().iterator_cf_opt(storage.index(), options, mode).map(|row| {
            trailing_u64(&row?.0)
                .ok_or_else(|| StorageError::corrupt("recipient index", "short key"))
        });
        merged(on_disk, in_memory)
    }

    /// Adds a coupon, of a campaign with a limit if `held` says what its recipient held before. It must be in the
    /// state before the next batch begins.
    pub(super) fn insert(
        &self,
        layers: &Layers,
        number: u32,
        sequence: u64,
        request: RequestId,
        recipient: &str,
        held: Option<Sequences>,
    ) {
        let coupon = Indexed { number, sequence, request, recipient };
        layers.active.write().insert(&coupon, held);
    }

    /// Begins to move the rows in memory to disk if there are enough of them. Waits for the table before, if
    /// that is still being written.
    pub(super) fn spill(self: &Arc<Self>, storage: &Storage) {
        let is_closing = self.is_closing.load(Ordering::Relaxed);
        if is_closing || self.layers.read().active.read().rows() < TABLE_ROWS {
            return;
        }
        let mut tasks = self.tasks.lock();
        join(tasks.ingest.take());
        let full = {
            let mut layers = self.layers.write();
            let empty = Arc::new(RwLock::new(storage.database().take_spare_delta()));
            let full = std::mem::replace(&mut layers.active, empty);
            layers.older = vec![full.clone()];
            full
        };
        let (index, database) = (self.clone(), storage.database());
        tasks.ingest = Some(spawn("index writer", move || {
            // Sorting gives way to the threads that answer callers. What holds RocksDB's locks must not.
            let table = {
                let (index, database, full) = (index.clone(), database.clone(), full.clone());
                std::thread::spawn(move || {
                    // Of this thread alone, on Linux. Where that is not allowed, it competes with the others.
                    let _ = rustix::process::setpriority_process(None, NICENESS);
                    let table = ingest::table(&database, &index.keys, &full.read());
                    index.add_to_filter(&full.read());
                    table
                })
            };
            let table =
                table.join().unwrap_or_else(|_| super::fatal::abort("index", &"it panicked"));
            database.ingest_index(&table?)?;
            index.layers.write().older.clear();
            // Whoever still looks at it finds the rows on disk; most often nobody does.
            if let Ok(mut full) = Arc::try_unwrap(full).map(RwLock::into_inner) {
                full.clear();
                database.keep_spare_delta(full);
            }
            Ok(())
        }));
    }

    fn add_to_filter(&self, delta: &Delta) {
        self.filter.insert_all(delta.requests.keys().map(|key| self.hash(key)));
        self.filter.insert_all(delta.limited.keys().map(|key| self.hash(key)));
    }

    /// Waits for the threads that work on it. What is added later stays in memory.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        let mut tasks = self.tasks.lock();
        join(tasks.ingest.take());
        join(tasks.load.take());
    }
}

/// Two ascending sequences as one, without what is in both.
fn merged<E>(
    left: impl Iterator<Item = Result<u64, E>>,
    right: Vec<u64>,
) -> impl Iterator<Item = Result<u64, E>> {
    let (mut left, mut right) = (left.peekable(), right.into_iter().peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(Ok(one)), Some(other)) if one == other => {
            right.next();
            left.next()
        }
        (Some(Ok(one)), Some(other)) if one > other => right.next().map(Ok),
        (Some(_), _) => left.next(),
        (None, _) => right.next().map(Ok),
    })
}

/// How much sorting gives way: two or three shares of a processor for one of its own.
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
