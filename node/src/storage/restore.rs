//! The state that a shard of a restored cluster begins with.
//!
//! It is staged on the nodes of the new cluster before the cluster exists, each state in a file whose name
//! says which shard and which state it holds. The first map of the cluster says the same, so a replica begins
//! with that state or not at all.
//!
//! Invariants:
//! - A file is whole, checked and durable before it gets its name.
//! - All initial replicas of a shard begin with the same rows, the same running digest and the same membership,
//!   at the same log id: the one that the first entry of a new group has. The log before it is gone, so
//!   that a replica which joins later is sent a snapshot.
//! - A crash at any step leaves a replica that has not begun and still has its file, or one that has.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use coupon_cluster::{ShardId, StateDigest};
use coupon_env::entropy;
use coupon_ledger::{CountersExhausted, ShardState};
use coupon_proto::internal as pb;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::backup::inspect;
use super::digest::{Digest, RunningDigest};
use super::frames::FrameReader;
use super::identity::sync_dir;
use super::ingest::StateTables;
use super::keys::{APPLIED, Generation, LogKeys, SHARD, StateKeys, TERMS};
use super::ledger::decode;
use super::snapshot::{ReplicaKey, clear_other_generations};
use super::{Storage, StorageError};
use crate::codec::row;

/// Suffix of the files of staged states.
const SUFFIX: &str = ".state";

/// The generation of a restored state: the one after that of a replica which begins empty.
const GENERATION: Generation = 1;

/// Why a state was not staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The file is damaged, or the file system fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is whole, but holds another state.
    #[error("the file holds another state of shard {0} than the one announced for it")]
    OtherState(ShardId),
    /// No shard can begin with it.
    #[error(transparent)]
    Exhausted(#[from] CountersExhausted),
}

/// The states staged on a node.
#[derive(Clone, Debug)]
pub struct Staging {
    dir: PathBuf,
}

impl Staging {
    /// The states staged in a data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("restore") }
    }

    /// The path of a new file to receive a state into.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn incoming_path(&self) -> Result<PathBuf, StorageError> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&self.dir).map_err(StorageError::io(&self.dir))?;
        Ok(self.dir.join(format!("incoming-{}", entropy::uuid())))
    }

    /// Checks a file that was received and synced, and stages it as the initial state of a shard. Removes the
    /// one staged before.
    ///
    /// # Errors
    ///
    /// When it is damaged, holds another state, or has too few counters left.
    pub fn keep(
        &self,
        received: &Path,
        shard: ShardId,
        state: &StateDigest,
    ) -> Result<(), StageError> {
        let found = inspect(received, shard)?;
        if found.state != *state {
            return Err(StageError::OtherState(shard));
        }
        found.check_restorable()?;
        let path = self.path(shard, state);
        std::fs::rename(received, &path).map_err(StorageError::io(&path))?;
        for (kept, other) in self.list()? {
            if kept == shard && other != *state {
                let other = self.path(shard, &other);
                std::fs::remove_file(&other).map_err(StorageError::io(&other))?;
            }
        }
        Ok(sync_dir(&self.dir)?)
    }

    /// The staged states, by shard.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn list(&self) -> Result<Vec<(ShardId, StateDigest)>, StorageError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StorageError::io(&self.dir)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(StorageError::io(&self.dir))?.file_name();
            found.extend(name.to_str().and_then(parse_name));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes all staged states.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn clear(&self) -> Result<(), StorageError> {
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StorageError::io(&self.dir)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn path(&self, shard: ShardId, state: &StateDigest) -> PathBuf {
        let hex: String = state.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{shard}-{hex}{SUFFIX}"))
    }
}

/// The shard and the state in the name of a file.
fn parse_name(name: &str) -> Option<(ShardId, StateDigest)> {
    let (shard, hex) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let mut state = StateDigest::default();
    if hex.len() != 2 * state.len() {
        return None;
    }
    for (place, byte) in state.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some((ShardId::new(shard.parse().ok()?).ok()?, state))
}

/// Makes a staged state the one that a replica begins with, durable on return. Does nothing to a replica that
/// has begun.
///
/// # Errors
///
/// When the state is missing or damaged, or the disk fails. The replica must not run then.
pub fn install(
    storage: &Storage,
    staging: &Staging,
    key: ReplicaKey,
    state: &StateDigest,
    membership: pb::Membership,
) -> Result<(), StorageError> {
    let replica = LogKeys::new(key.shard, key.replica);
    if storage.db().get_cf(storage.meta(), replica.generation())?.is_some() {
        return Ok(());
    }
    // Leftovers of an attempt that crashed.
    clear_other_generations(storage, key.shard, 0)?;
    let path = staging.path(key.shard, state);
    if !path.try_exists().map_err(StorageError::io(&path))? {
        let why = format!(
            "{} is not there: empty the data directories of all nodes and restore again",
            path.display()
        );
        return Err(StorageError::corrupt("restored state", why));
    }
    // The first entry of a new group holds its members. Here it counts as applied and purged already.
    let first = pb::LogId::default();
    let applied = pb::AppliedRecord {
        last_applied: Some(first),
        membership: Some(pb::StoredMembership {
            log_id: Some(first),
            membership: Some(membership),
        }),
    };
    ingest(storage, key, &path, state, &applied)?;

    let mut flip = WriteBatch::default();
    flip.put_cf(storage.meta(), replica.purged(), first.encode_to_vec());
    flip.put_cf(storage.meta(), replica.generation(), GENERATION.to_be_bytes());
    storage.write_synced(flip)
}

/// Ingests the rows of a backup as the state to begin with.
fn ingest(
    storage: &Storage,
    key: ReplicaKey,
    from: &Path,
    state: &StateDigest,
    applied: &pb::AppliedRecord,
) -> Result<(), StorageError> {
    let keys = StateKeys::new(key.shard, GENERATION);
    let options = storage.table_options();
    let name = format!("{}restoring", key.file_prefix());
    let mut tables = StateTables::create(storage, &options, keys, &name)?;
    // The first key of all.
    tables.put(&[APPLIED], &applied.encode_to_vec())?;
    let mut frames = FrameReader::open(from)?;
    frames.header()?;
    let mut shard_seen = false;
    let (_, found) = frames.for_each_row(|key, value| {
        match key {
            // Of the old cluster's replicas.
            [APPLIED] | [TERMS] => {}
            [SHARD] => {
                shard_seen = true;
                let backup = row::shard_from_pb(decode("shard record", value)?)
                    .map_err(|error| StorageError::corrupt("shard record", error))?;
                tables.put(key, &shard_record(backup, state)?)?;
            }
            _ => tables.put(key, value)?,
        }
        Ok(())
    })?;
    if found != *state {
        return Err(StorageError::corrupt("restored state", "it is not the one of the shard map"));
    }
    // A shard that was still empty in the backup may have done much since.
    if !shard_seen {
        tables.put(&[SHARD], &shard_record(ShardState::default(), state)?)?;
    }
    tables.ingest()
}

/// The shard record to begin with. The running digest begins anew, over everything in the backup.
fn shard_record(backup: ShardState, state: &Digest) -> Result<Vec<u8>, StorageError> {
    let restored =
        backup.restored().map_err(|error| StorageError::corrupt("restored state", error))?;
    let record = row::shard_to_pb(&restored);
    let mut digest = RunningDigest::resume(*state);
    digest.add(&[SHARD], &record.encode_to_vec());
    digest.end_entry();
    let running_digest = digest.value().to_vec();
    Ok(pb::ShardRecord { running_digest, ..record }.encode_to_vec())
}
