//! Snapshots: a replica's whole state at one log index.
//!
//! The state is the snapshot: nothing is copied until another replica, or a backup, needs it. Then the rows are
//! written as one stream, in the format of `frames`. Rows and `last_applied` come from one RocksDB snapshot: a
//! stream is never ahead of what it says. Keys stand without their prefix, so that a state is the same on every
//! replica whatever its generation.
//!
//! The receiver keeps the stream in a file and checks it. Installing writes the rows under a new generation, which
//! no reader sees, and then flips the replica's generation in one synced write. A crash before leaves the old
//! state, after the new.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use coupon_cluster::{ReplicaId, ShardId};
use coupon_env::entropy;
use coupon_proto::internal as pb;
use rocksdb::{
    ColumnFamily, DB, Direction, IteratorMode, ReadOptions, SnapshotWithThreadMode, WriteBatch,
};

use super::digest::RowSum;
use super::frames::{self, FrameReader, Row, VERSION, WriteError};
use super::ingest::StateTables;
use super::keys::{Generation, LogKeys, PREFIX_LEN, StateKeys, after_prefix};
use super::ledger::decode;
use super::view::generation_from;
use super::{Storage, StorageError, index};

/// A file that holds a whole and undamaged snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub header: pb::SnapshotHeader,
}

/// Which replica a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaKey {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
}

impl ReplicaKey {
    pub(super) fn file_prefix(self) -> String {
        format!("shard-{}-replica-{}-", self.shard, self.replica)
    }
}

/// What [`digest`] found.
pub struct StateDigest {
    /// The log index the state is at; 0: nothing applied.
    pub applied_index: u64,
    /// SHA-256 over all rows, hex.
    pub hex: String,
}

/// Writes a replica's state as it is now. Until it is written, RocksDB keeps the view that it is read from.
///
/// # Errors
///
/// When the disk fails or `out` does.
pub fn write(storage: &Storage, key: ReplicaKey, out: impl Write) -> Result<(), WriteError> {
    let rows = Rows::of(storage, key)?;
    let mut out = frames::write(out, &rows.header()?, rows.iter())?;
    Ok(out.flush()?)
}

/// A file of its own to receive a snapshot into. What is left of it after a crash is swept away when the
/// storage is opened.
pub fn incoming_path(storage: &Storage, key: ReplicaKey) -> PathBuf {
    let name = format!("{}incoming-{}", key.file_prefix(), entropy::uuid());
    storage.snapshot_dir().join(name)
}

/// Copies the state of a replica to a file in another store, or in the same one.
///
/// # Errors
///
/// When the disk fails.
pub fn copy(
    from: &Storage,
    source: ReplicaKey,
    to: &Storage,
    target: ReplicaKey,
) -> Result<SnapshotFile, StorageError> {
    let path = incoming_path(to, target);
    let file = File::create(&path).map_err(StorageError::io(&path))?;
    write(from, source, BufWriter::new(file)).map_err(|fault| match fault {
        WriteError::State(fault) => fault,
        WriteError::Out(fault) => StorageError::io(&path)(fault),
    })?;
    check(&path, target.shard)
}

/// Removes what a crash left in a snapshot directory.
///
/// # Errors
///
/// When the file system fails.
pub fn sweep(dir: &Path) -> Result<(), StorageError> {
    for entry in std::fs::read_dir(dir).map_err(StorageError::io(dir))? {
        let path = entry.map_err(StorageError::io(dir))?.path();
        std::fs::remove_file(&path).map_err(StorageError::io(&path))?;
    }
    Ok(())
}

/// Takes a received file for a snapshot: checks every frame, the number of rows and the digest.
///
/// # Errors
///
/// When the file is damaged, not whole, of another shard, or cannot be read.
pub fn check(path: &Path, shard: ShardId) -> Result<SnapshotFile, StorageError> {
    let mut frames = FrameReader::open(path)?;
    let header = frames.header()?;
    if header.shard_id != shard.get() {
        let why = format!("it is of shard {}", header.shard_id);
        return Err(StorageError::corrupt("snapshot", why));
    }
    frames.for_each_row(|_, _| Ok(()))?;
    Ok(SnapshotFile { path: path.to_owned(), header })
}

/// Makes a snapshot the state of a replica, durable on return.
///
/// # Errors
///
/// When the file is damaged or the disk fails. The old state is in force then.
pub fn install(
    storage: &Storage,
    key: ReplicaKey,
    file: &SnapshotFile,
) -> Result<Generation, StorageError> {
    let keys = LogKeys::new(key.shard, key.replica);
    let old = generation(storage, &keys)?;
    let new = old + 1;
    let old_keys = StateKeys::new(key.shard, old);
    let new_keys = StateKeys::new(key.shard, new);
    clear_other_generations(storage, key.shard, old)?;

    let options = storage.table_options();
    let name = format!("{}installing", key.file_prefix());
    let mut tables = StateTables::create(storage, &options, new_keys, &name)?;
    let mut frames = FrameReader::open(&file.path)?;
    frames.header()?;
    frames.for_each_row(|key, value| tables.put(key, value))?;
    tables.ingest()?;

    let mut flip = WriteBatch::default();
    flip.put_cf(storage.meta(), keys.generation(), new.to_be_bytes());
    storage.write_synced(flip)?;

    storage.close_index_of(old_keys);
    index::remove(storage, old_keys)?;
    let mut sweep = WriteBatch::default();
    for family in [storage.state(), storage.coupons()] {
        sweep.delete_range_cf(family, &old_keys.prefix()[..], &old_keys.end()[..]);
    }
    storage.write(sweep)?;
    // Here, where the installation may take its time, rather than with the first look-up.
    storage.index_of(new_keys)?;
    Ok(new)
}

/// The generation in force of a replica.
///
/// # Errors
///
/// When the disk fails.
pub fn generation(storage: &Storage, keys: &LogKeys) -> Result<Generation, StorageError> {
    match storage.db().get_cf(storage.meta(), keys.generation())? {
        Some(bytes) => generation_from(&bytes),
        None => Ok(0),
    }
}

/// Removes what a crash left of generations that are not in force.
///
/// # Errors
///
/// When the disk fails.
pub fn clear_other_generations(
    storage: &Storage,
    shard: ShardId,
    in_force: Generation,
) -> Result<(), StorageError> {
    let kept = StateKeys::new(shard, in_force);
    storage.close_indexes(|keys| keys.shard_id() == shard && keys != kept);
    index::remove_others(storage, kept)?;
    let first = StateKeys::new(shard, 0);
    let last = StateKeys::new(shard, Generation::MAX);
    let ranges = [
        (first.prefix().to_vec(), kept.prefix().to_vec()),
        (kept.end().to_vec(), last.end().to_vec()),
    ];
    let everywhere = ranges.iter().flat_map(|range| {
        [storage.state(), storage.coupons()].map(|family| (family, range.clone()))
    });
    for (family, (from, until)) in everywhere {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(until.clone());
        let mode = IteratorMode::From(&from, Direction::Forward);
        let mut rows = storage.db().iterator_cf_opt(family, options, mode);
        if rows.next().transpose()?.is_some() {
            let mut batch = WriteBatch::default();
            batch.delete_range_cf(family, from, until);
            storage.write(batch)?;
        }
    }
    Ok(())
}

/// The applied record of a replica: how far its state is; `None` when nothing was applied.
///
/// # Errors
///
/// When the disk fails.
pub fn applied(
    storage: &Storage,
    shard: ShardId,
    replica: ReplicaId,
) -> Result<Option<pb::AppliedRecord>, StorageError> {
    Rows::of(storage, ReplicaKey { shard, replica })?.applied()
}

/// The digest of a replica's state: equal on all replicas of a shard at the same index.
///
/// # Errors
///
/// When the disk fails.
pub fn digest(storage: &Storage, key: ReplicaKey) -> Result<StateDigest, StorageError> {
    let rows = Rows::of(storage, key)?;
    let mut sum = RowSum::default();
    for row in rows.iter() {
        let (key, value) = row?;
        sum.add(&key, &value);
    }
    let applied = rows.applied()?.and_then(|applied| applied.last_applied);
    let (_, digest) = sum.finish();
    let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(StateDigest { applied_index: applied.map_or(0, |id| id.index), hex })
}

/// All rows of a replica's state at one moment.
struct Rows<'a> {
    storage: &'a Storage,
    snapshot: SnapshotWithThreadMode<'a, DB>,
    keys: StateKeys,
    key: ReplicaKey,
}

impl<'a> Rows<'a> {
    /// The rows as they are now.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    fn of(storage: &'a Storage, key: ReplicaKey) -> Result<Self, StorageError> {
        let snapshot = storage.db().snapshot();
        let row = LogKeys::new(key.shard, key.replica).generation();
        let generation = match snapshot.get_cf(storage.meta(), row)? {
            Some(bytes) => generation_from(&bytes)?,
            None => 0,
        };
        Ok(Self { storage, snapshot, keys: StateKeys::new(key.shard, generation), key })
    }

    fn applied(&self) -> Result<Option<pb::AppliedRecord>, StorageError> {
        let bytes = self.snapshot.get_cf(self.storage.state(), self.keys.applied())?;
        bytes.map(|bytes| decode("applied record", &bytes)).transpose()
    }

    /// The header of a snapshot of them.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    fn header(&self) -> Result<pb::SnapshotHeader, StorageError> {
        let applied = self.applied()?.unwrap_or_default();
        let terms = self.snapshot.get_cf(self.storage.state(), self.keys.terms())?;
        let terms = terms.map(|bytes| decode("term starts", &bytes)).transpose()?;
        Ok(pb::SnapshotHeader {
            version: VERSION,
            shard_id: self.key.shard.get(),
            applied: Some(applied),
            terms,
        })
    }

    /// The rows in key order, keys without prefix.
    fn iter(&self) -> impl Iterator<Item = Result<Row, StorageError>> + '_ {
        let first = self.keys.prefix().to_vec();
        let coupons = self.keys.all_coupons();
        let after = after_prefix(&coupons).unwrap_or_else(|| self.keys.end().to_vec());
        let end = self.keys.end().to_vec();
        let (state, family) = (self.storage.state(), self.storage.coupons());
        self.range(state, first, coupons.clone())
            .chain(self.range(family, coupons, after.clone()))
            .chain(self.range(state, after, end))
    }

    fn range(
        &self,
        family: &'a ColumnFamily,
        first: Vec<u8>,
        end: Vec<u8>,
    ) -> impl Iterator<Item = Result<Row, StorageError>> + use<'_, 'a> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        // A scan of everything must not push the hot blocks out of the cache.
        options.fill_cache(false);
        let mode = IteratorMode::From(&first, Direction::Forward);
        self.snapshot.iterator_cf_opt(family, options, mode).map(|row| {
            let (key, value) = row?;
            Ok((Box::from(&key[PREFIX_LEN..]), value))
        })
    }
}
