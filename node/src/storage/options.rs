//! How RocksDB is set up.

use std::ffi::c_int;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel,
    LruCacheOptions, Options,
};

/// Shared by all families: recently read blocks. Small, since the hot state is in memtables.
const BLOCK_CACHE_BYTES: usize = 64 << 20;
/// The cache has 2^n shards with a lock each. Few, because few threads read and a block larger than a shard
/// is never cached.
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

/// The options of the database.
pub(super) fn db_options() -> Options {
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

/// The cache that all families share.
pub(super) fn block_cache() -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(BLOCK_CACHE_BYTES);
    options.set_num_shard_bits(BLOCK_CACHE_SHARD_BITS);
    Cache::new_lru_cache_opts(&options)
}

/// The options of a family whose rows are looked up by their keys.
pub(super) fn family_options(cache: &Cache) -> Options {
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
pub(super) fn ordered_options(cache: &Cache, compression: DBCompressionType) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(compression);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(4);
    options
}
