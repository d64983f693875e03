//! The node's one RocksDB.

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, DBRecoveryMode, LogLevel, LruCacheOptions, Options, WriteBatch,
    WriteOptions,
};

use super::flusher::Flusher;

const LOG: &str = "log";
const META: &str = "meta";
const STATE: &str = "state";

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
    db: Arc<DB>,
    flusher: Flusher,
    cache: Cache,
    snapshots: PathBuf,
}

impl Drop for Shared {
    /// RocksDB is closed by whoever drops the last handle, not by a thread that might still be at
    /// it when the process ends.
    fn drop(&mut self) {
        self.flusher.stop();
    }
}

impl Storage {
    /// Opens or creates the storage in `dir`.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, is in use by another process, or when a synced part of
    /// the write-ahead log is damaged. A torn last record is what a power cut leaves of a write
    /// that nobody was told of; it is dropped.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let snapshots = dir.join("snapshots");
        std::fs::create_dir_all(&snapshots).map_err(StorageError::io(&snapshots))?;
        let cache = block_cache();
        let families = [LOG, META, STATE]
            .map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)));
        let db = Arc::new(DB::open_cf_descriptors(&db_options(), dir.join("db"), families)?);
        // Only now, when RocksDB's lock says that nobody else uses the directory.
        super::snapshot::sweep(&snapshots)?;
        let synced = db.clone();
        let flusher = Flusher::start(move || synced.flush_wal(true));
        Ok(Self { shared: Arc::new(Shared { db, flusher, cache, snapshots }) })
    }

    /// The database itself.
    pub fn db(&self) -> &Arc<DB> {
        &self.shared.db
    }

    /// Who makes writes durable.
    pub fn flusher(&self) -> &Flusher {
        &self.shared.flusher
    }

    /// Where snapshot files live.
    pub fn snapshot_dir(&self) -> &Path {
        &self.shared.snapshots
    }

    /// The family of log entries.
    pub fn log(&self) -> &ColumnFamily {
        self.family(LOG)
    }

    /// The family of votes, purge marks and generations.
    pub fn meta(&self) -> &ColumnFamily {
        self.family(META)
    }

    /// The family of applied state.
    pub fn state(&self) -> &ColumnFamily {
        self.family(STATE)
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.shared.db.cf_handle(name).expect("the family was opened with the database")
    }

    /// Writes a batch. It is atomic now, and durable once the [`Flusher`] says so.
    ///
    /// # Errors
    ///
    /// When RocksDB fails.
    pub fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        Ok(self.shared.db.write_opt(batch, &WriteOptions::default())?)
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
        Ok(self.shared.db.flush_wal(true)?)
    }

    /// How tables are laid out, for those that are made outside of the database and then taken in.
    pub fn table_options(&self) -> Options {
        family_options(&self.shared.cache)
    }

    /// Makes everything durable and ends RocksDB's own work, so that none of its threads is left
    /// behind when the process ends. Nothing may be written afterwards.
    ///
    /// # Errors
    ///
    /// When RocksDB fails.
    pub fn close(&self) -> Result<(), StorageError> {
        self.shared.flusher.stop();
        self.sync()?;
        self.shared.db.cancel_all_background_work(true);
        Ok(())
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
    // Most look-ups (a new request, a new recipient) are for keys that do not exist.
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
