//! The node's one RocksDB.

use std::collections::HashMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, DBRecoveryMode, ErrorKind, IngestExternalFileOptions, LogLevel,
    LruCacheOptions, Options, WriteBatch, WriteOptions,
};
use tempfile::TempDir;

use super::floor::Floor;
use super::flusher::Flusher;
use super::index::Index;
use super::keys::StateKeys;
use super::lost;

const LOG: &str = "log";
const META: &str = "meta";
const STATE: &str = "state";
const COUPONS: &str = "coupons";

/// Shared by all families: recently read blocks. Small, since the hot state is in memtables.
const BLOCK_CACHE_BYTES: usize = 64 << 20;
/// The cache is cut into 2^n parts with a lock each. A block larger than a part is never cached, and
/// few threads read.
const BLOCK_CACHE_SHARD_BITS: c_int = 2;
/// Filters and indexes are cut into blocks of about this size. In one piece they grow with the file, to
/// megabytes, and reading one again is what a look-up then costs.
const METADATA_BLOCK_BYTES: usize = 16 << 10;
/// One memtable. Large enough that a rush rarely waits for a flush, small enough that two of each
/// family stay far below the memory a node may use.
const MEMTABLE_BYTES: usize = 32 << 20;
/// How much of a memtable's size its bloom filter takes: about ten bits for each small row.
const MEMTABLE_BLOOM_RATIO: f64 = 0.02;
/// All memtables together; the oldest is flushed beyond this.
const ALL_MEMTABLES_BYTES: usize = 128 << 20;
/// The write-ahead log beyond this makes RocksDB flush the memtables that hold it back, which
/// bounds both the disk it takes and the time a restart takes.
const WAL_BYTES: u64 = 256 << 20;

/// A fault of local storage. It is never an answer: whoever meets one on the way to a disk that
/// replicates must end the process ([`super::fatal::abort`]).
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// RocksDB failed.
    #[error("RocksDB: {0}")]
    RocksDb(#[from] rocksdb::Error),
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Something on disk is not what was written there.
    #[error("corrupt {what}: {why}")]
    Corrupt {
        /// What is corrupt.
        what: &'static str,
        /// How that shows.
        why: String,
    },
    /// The store has lost acknowledged writes, and is marked as lost.
    #[error(
        "the store in {} has lost writes that it had acknowledged: {why}. It never votes, leads or \
         answers again; restart the node, and a fresh store replaces it",
        dir.display()
    )]
    Lost {
        /// The data directory.
        dir: PathBuf,
        /// How that shows.
        why: String,
    },
}

impl StorageError {
    /// Something on disk is not what was written there.
    pub fn corrupt(what: &'static str, why: impl ToString) -> Self {
        Self::Corrupt { what, why: why.to_string() }
    }

    /// The file system failed at `path`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl From<StorageError> for std::io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}

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
    /// RocksDB is closed by whoever drops the last handle, not by a thread that might still be at
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
        let db = match DB::open_cf_descriptors(&db_options(), &path, families) {
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
        let (dir, indexes) = (dir.to_owned(), Mutex::default());
        let shared = Shared {
            database,
            flusher,
            dir,
            index_dir: index,
            indexes,
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

    /// Where snapshot files live.
    pub fn snapshot_dir(&self) -> &Path {
        &self.shared.database.snapshots
    }

    /// Where the indexes of coupons live.
    pub(super) fn index_dir(&self) -> &Path {
        &self.shared.index_dir
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
    pub(super) fn take_in(&self, family: &ColumnFamily, table: &Path) -> Result<(), StorageError> {
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

fn db_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Writes stay in RocksDB's buffer until the flusher writes and syncs them together: one system
    // call for all shards. A killed process loses what was not synced, just as a power cut does.
    options.set_manual_wal_flush(true);
    // The tail of the log may be torn, the middle may not: better no replica than a wrong one.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    // A closed log must be complete, even where a newer one would hide a loss.
    options.set_track_and_verify_wals_in_manifest(true);
    // A node writes from one thread, for which the memtable has a cheaper way in.
    options.set_allow_concurrent_memtable_write(false);
    options.set_max_total_wal_size(WAL_BYTES);
    options.set_db_write_buffer_size(ALL_MEMTABLES_BYTES);
    options.set_max_background_jobs(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_log_level(LogLevel::Warn);
    options
}

fn block_cache() -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(BLOCK_CACHE_BYTES);
    options.set_num_shard_bits(BLOCK_CACHE_SHARD_BITS);
    Cache::new_lru_cache_opts(&options)
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Look-ups are often for keys that do not exist.
    table.set_bloom_filter(10.0, false);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(METADATA_BLOCK_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(4);
    // The same for what is still in memory.
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    options
}

/// Rows that are read in order, or from a place on: a filter over whole keys would be of no use.
fn ordered_options(cache: &Cache, compression: DBCompressionType) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(compression);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(4);
    options
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
