//! The node's one RocksDB.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, ErrorKind,
    IngestExternalFileOptions, Options, WriteBatch, WriteOptions,
};
use tempfile::TempDir;

use super::error::StorageError;
use super::floor::Floor;
use super::flusher::Flusher;
use super::index::{Index, MemtableLimit};
use super::keys::StateKeys;
use super::lost;
use super::options::{block_cache, db_options, family_options, ordered_options};
use super::sync_time;

const LOG: &str = "log";
const META: &str = "meta";
const STATE: &str = "state";
const COUPONS: &str = "coupons";

/// The node's storage. Clones share it.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

struct Shared {
    database: Arc<Database>,
    flusher: Flusher,
    dir: PathBuf,
    index_dir: PathBuf,
    /// The indexes that are open.
    indexes: Mutex<HashMap<StateKeys, IndexSlot>>,
    memtable_limit: Arc<MemtableLimit>,
    is_closing: AtomicBool,
    /// The directory of the indexes of a store that is only looked at.
    _temporary: Option<TempDir>,
}

/// An index, once it is open. Those who want it meanwhile wait, and only they.
type IndexSlot = Arc<Mutex<Option<Arc<Index>>>>;

/// The database with its write-ahead log, and the floor beside it.
pub(super) struct Database {
    db: Arc<DB>,
    cache: Cache,
    snapshots: PathBuf,
    floor: Mutex<Floor>,
    /// Held while tables are ingested: RocksDB counts their sequence numbers a moment before they are
    /// durable.
    taking_in: Mutex<()>,
}

impl Database {
    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("the family was opened with the database")
    }

    fn ingest(&self, family: &ColumnFamily, table: &Path) -> Result<(), StorageError> {
        let _taking_in = self.taking_in.lock();
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        Ok(self.db.ingest_external_file_cf_opts(family, &options, vec![table])?)
    }

    /// Makes everything written before durable, and records how far that is in the floor.
    fn sync(&self) -> Result<(), StorageError> {
        let written = self.taking_in.try_lock().map(|_idle| self.db.latest_sequence_number());
        self.db.flush_wal(true)?;
        // While tables are ingested, the floor stays where it is, which only demands less.
        written.map_or(Ok(()), |written| self.floor.lock().raise(written))
    }
}

impl Drop for Shared {
    /// The drop of the last handle closes RocksDB, not a thread that might still be at
    /// it when the process ends.
    fn drop(&mut self) {
        close_all(&mut self.indexes.lock());
        self.flusher.stop();
    }
}

impl Storage {
    /// Opens or creates the storage in `dir`.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used or is in use by another process; [`StorageError::Lost`] when it is
    /// marked as lost, or when the database is damaged or lacks writes that were durable, which marks it. A
    /// torn last record is dropped: a power cut leaves one of a write that was never acknowledged.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_checked(dir, true)
    }

    /// Opens the storage in `dir` even if it has lost writes, for recovery by hand, and marks it as lost
    /// then. No node may run on it.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, is in use by another process, or the database is damaged.
    pub(crate) fn open_as_found(dir: &Path) -> Result<Self, StorageError> {
        Self::open_checked(dir, false)
    }

    fn open_checked(dir: &Path, is_to_run: bool) -> Result<Self, StorageError> {
        if is_to_run && let Some(why) = lost::read(dir)? {
            return Err(StorageError::Lost { dir: dir.to_owned(), why });
        }
        let snapshots = dir.join("snapshots");
        let temporary = match is_to_run {
            true => None,
            false => Some(tempfile::tempdir().map_err(StorageError::io(std::env::temp_dir()))?),
        };
        let index =
            temporary.as_ref().map_or_else(|| dir.join("index"), |dir| dir.path().to_owned());
        for made in [&snapshots, &index] {
            std::fs::create_dir_all(made).map_err(StorageError::io(made))?;
        }
        let path = dir.join("db");
        let current = path.join("CURRENT");
        let is_new = !current.try_exists().map_err(StorageError::io(&current))?;
        if is_new && !is_to_run {
            return Err(StorageError::corrupt("store", "there is no database"));
        }
        // Before the database, so that no crash leaves one without a floor.
        if is_new && Floor::open(dir).is_ok_and(|floor| floor.is_none()) {
            Floor::create(dir)?;
        }
        let cache = block_cache();
        let families = [
            // Entries live for a short time: compression would cost more than it saves.
            ColumnFamilyDescriptor::new(LOG, ordered_options(&cache, DBCompressionType::None)),
            ColumnFamilyDescriptor::new(META, family_options(&cache)),
            ColumnFamilyDescriptor::new(STATE, family_options(&cache)),
            ColumnFamilyDescriptor::new(COUPONS, ordered_options(&cache, DBCompressionType::Lz4)),
        ];
        // At the same time, since RocksDB syncs a dozen times one after the other.
        let (opened, sync_times) = std::thread::scope(|scope| {
            let measuring = is_to_run.then(|| scope.spawn(|| sync_time::measure(dir)));
            let opened = DB::open_cf_descriptors(&db_options(), &path, families);
            (opened, measuring.map(|thread| thread.join().expect("measuring does not panic")))
        });
        let db = match opened {
            Ok(db) => Arc::new(db),
            Err(fault) if fault.kind() == ErrorKind::Corruption && is_to_run => {
                return Err(lose(dir, &format!("its database is damaged: {fault}")));
            }
            Err(fault) => return Err(fault.into()),
        };
        // Only now: RocksDB's lock shows that no other process uses the directory.
        let short = |why: &str| match is_to_run {
            true => Err(lose(dir, why)),
            // Marked in any case, so that a node that starts later finds it.
            false => lost::mark(dir, why),
        };
        let floor = match Floor::open(dir) {
            Ok(Some(floor)) => floor,
            Ok(None) => {
                short("the file floor, which says what it must hold, is missing")?;
                Floor::create(dir)?
            }
            Err(StorageError::Corrupt { .. }) => {
                short("the file floor, which says what it must hold, is damaged")?;
                Floor::create(dir)?
            }
            Err(fault) => return Err(fault),
        };
        let (found, durable) = (db.latest_sequence_number(), floor.sequence());
        if found < durable {
            let why = format!(
                "its database ends with write {found}, but writes up to {durable} were on disk: the end \
                 of the write-ahead log, or all of it, is gone"
            );
            short(&why)?;
        }
        super::snapshot::sweep(&snapshots)?;
        let (floor, taking_in) = (Mutex::new(floor), Mutex::new(()));
        let database = Arc::new(Database { db, cache, snapshots, floor, taking_in });
        let synced = database.clone();
        let flusher = Flusher::start(move || synced.sync());
        if let Some(times) = sync_times {
            let times = times.map_err(StorageError::io(dir))?;
            times.into_iter().for_each(|time| flusher.note_sync(time));
        }
        let (dir, indexes) = (dir.to_owned(), Mutex::default());
        let shared = Shared {
            database,
            flusher,
            dir,
            index_dir: index,
            indexes,
            memtable_limit: Arc::default(),
            is_closing: false.into(),
            _temporary: temporary,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The database itself.
    pub fn db(&self) -> &Arc<DB> {
        &self.shared.database.db
    }

    /// Marks the store as lost, durable on return. The store never runs again. The caller ends the process.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn mark_lost(&self, why: &str) -> Result<(), StorageError> {
        lost::mark(&self.shared.dir, why)
    }

    /// Who makes writes durable.
    pub fn flusher(&self) -> &Flusher {
        &self.shared.flusher
    }

    /// Measures how long a sync takes, where none is needed. Blocks.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn measure_sync(&self) -> Result<(), StorageError> {
        let times = sync_time::measure(&self.shared.dir);
        let times = times.map_err(StorageError::io(&self.shared.dir))?;
        times.into_iter().for_each(|time| self.flusher().note_sync(time));
        Ok(())
    }

    /// Where snapshot files live.
    pub fn snapshot_dir(&self) -> &Path {
        &self.shared.database.snapshots
    }

    /// Where the indexes of coupons live.
    pub(super) fn index_dir(&self) -> &Path {
        &self.shared.index_dir
    }

    /// What the memtables of its indexes hold.
    pub(super) fn memtable_limit(&self) -> &Arc<MemtableLimit> {
        &self.shared.memtable_limit
    }

    /// The family of log entries.
    pub fn log(&self) -> &ColumnFamily {
        self.family(LOG)
    }

    /// The family of votes, purge marks and generations.
    pub fn meta(&self) -> &ColumnFamily {
        self.family(META)
    }

    /// The family of applied state but for coupons.
    pub fn state(&self) -> &ColumnFamily {
        self.family(STATE)
    }

    /// The family of the coupons of applied state. Coupons are added in the order of their keys; apart from the
    /// rows that every entry changes, they are written to disk once, and not merged again and again.
    pub fn coupons(&self) -> &ColumnFamily {
        self.family(COUPONS)
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.shared.database.family(name)
    }

    /// The index of a state, opened at first use.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn index_of(&self, keys: StateKeys) -> Result<Arc<Index>, StorageError> {
        let slot = self.shared.indexes.lock().entry(keys).or_default().clone();
        let mut slot = slot.lock();
        if let Some(index) = &*slot {
            return Ok(index.clone());
        }
        let index = Index::open(self, keys)?;
        Ok(slot.insert(index).clone())
    }

    /// Closes the index of a state that is about to be removed.
    pub(super) fn close_index_of(&self, keys: StateKeys) {
        self.close_indexes(|one| one == keys);
    }

    /// Closes the indexes of those states that `is_removed` names.
    pub(super) fn close_indexes(&self, is_removed: impl Fn(StateKeys) -> bool) {
        let indexes = self.shared.indexes.lock().clone();
        // Each before it leaves the table, so that no second one is opened beside it.
        for (keys, slot) in indexes.into_iter().filter(|(keys, _)| is_removed(*keys)) {
            let mut slot = slot.lock();
            slot.take().inspect(|index| index.close());
            self.shared.indexes.lock().remove(&keys);
        }
    }

    /// Whether the storage is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.shared.is_closing.load(Ordering::Relaxed)
    }

    /// Writes a batch. It is atomic now, and durable once the [`Flusher`] says so.
    ///
    /// # Errors
    ///
    /// When RocksDB fails.
    pub fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        Ok(self.db().write_opt(batch, &WriteOptions::default())?)
    }

    /// Writes a batch and waits until it is durable, on the caller's thread.
    ///
    /// # Errors
    ///
    /// When RocksDB fails.
    pub fn write_synced(&self, batch: WriteBatch) -> Result<(), StorageError> {
        self.write(batch)?;
        self.sync()
    }

    /// Makes everything durable that was written, on the caller's thread.
    ///
    /// # Errors
    ///
    /// When RocksDB fails.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.shared.database.sync()
    }

    /// Ingests a table that was made outside of the database into a family, durable on return. The file is
    /// moved.
    ///
    /// # Errors
    ///
    /// When RocksDB fails.
    pub(super) fn ingest(&self, family: &ColumnFamily, table: &Path) -> Result<(), StorageError> {
        self.shared.database.ingest(family, table)
    }

    /// How tables are laid out, for those that are made outside of the database and then taken in.
    pub fn table_options(&self) -> Options {
        family_options(&self.shared.database.cache)
    }

    /// Makes everything durable and ends RocksDB's own work, so that none of its threads is left
    /// behind when the process ends. Nothing may be written afterwards.
    ///
    /// # Errors
    ///
    /// When RocksDB fails.
    pub fn close(&self) -> Result<(), StorageError> {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        // They stay where they are: a late look-up must not open them again.
        for slot in self.shared.indexes.lock().values() {
            slot.lock().as_ref().inspect(|index| index.close());
        }
        self.shared.flusher.stop();
        self.sync()?;
        self.shared.database.floor.lock().sync()?;
        self.db().cancel_all_background_work(true);
        Ok(())
    }
}

/// Closes indexes and forgets them.
fn close_all(indexes: &mut HashMap<StateKeys, IndexSlot>) {
    for (_, slot) in indexes.drain() {
        slot.lock().take().inspect(|index| index.close());
    }
}

/// Marks the store in `dir` as lost.
fn lose(dir: &Path, why: &str) -> StorageError {
    match lost::mark(dir, why) {
        Ok(()) => StorageError::Lost { dir: dir.to_owned(), why: why.to_owned() },
        Err(fault) => fault,
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

    use super::*;

    /// Enough for a filter of more than a megabyte.
    const ROWS: u64 = 1_200_000;
    const LOOK_UPS: u64 = 2_000;
    const BATCH_ROWS: u64 = 10_000;

    /// Different for every number, in no order.
    fn key(number: u64) -> [u8; 8] {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
    }

    #[test]
    fn looking_for_what_is_not_there_reads_nothing_again() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).unwrap();
        for first in (0..ROWS).step_by(BATCH_ROWS as usize) {
            let mut batch = WriteBatch::default();
            (first..first + BATCH_ROWS).for_each(|n| batch.put_cf(storage.state(), key(n), []));
            storage.write(batch).unwrap();
        }
        storage.db().flush_cf(storage.state()).unwrap();
        storage.db().compact_range_cf(storage.state(), None::<&[u8]>, None::<&[u8]>);
        let look_up = || {
            for number in ROWS..ROWS + LOOK_UPS {
                assert_eq!(storage.db().get_cf(storage.state(), key(number)).unwrap(), None);
            }
        };
        // Fills the cache, also with the blocks of the few keys that the filter does not rule out.
        look_up();
        set_perf_stats(PerfStatsLevel::EnableCount);
        let mut counted = PerfContext::default();
        counted.reset();
        look_up();
        assert_eq!(counted.metric(PerfMetric::BlockReadByte), 0);
        assert!(counted.metric(PerfMetric::BlockCacheHitCount) >= LOOK_UPS, "filters were used");
    }
}
