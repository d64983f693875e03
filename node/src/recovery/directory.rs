//! Reads the data directory of a stopped node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coupon_cluster::{NodeId, ReplicaId, ShardId, ShardMap};
use coupon_proto::internal as pb;
use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::RecoveryError;
use crate::meta::store::ShardMapStore;
use crate::storage::identity::Stamp;
use crate::storage::keys::LogKeys;
use crate::storage::ledger::decode;
use crate::storage::{Storage, StorageError, lost, renewal, snapshot};

/// The data directory of a stopped node, open for as long as this exists.
pub struct Directory {
    /// The folder of the store: the directory itself, or the folder in it to which a lost store was moved.
    pub path: PathBuf,
    /// The node.
    pub node: NodeId,
    /// The store.
    pub store_id: String,
    /// Why the store is marked as lost; `None` if it is not.
    pub lost: Option<String>,
    /// The newest shard map that the node knew.
    pub map: Arc<ShardMap>,
    storage: Storage,
}

/// A replica in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaFound {
    /// Its shard.
    pub shard: ShardId,
    /// The replica's id.
    pub replica: ReplicaId,
    /// The last term it voted in.
    pub term: u64,
    /// The last index in its log; 0: none.
    pub last_log_index: u64,
    /// The last index it applied; 0: none.
    pub applied_index: u64,
    /// The index at which it was found to differ from another replica, if it was.
    pub diverged_index: Option<u64>,
    /// The same, if it noticed that the leader of an entry in its log held another state there. That entry and those
    /// after it are of the leader's history.
    pub leader_differed_at: Option<u64>,
}

impl Directory {
    /// Opens the directory of a stopped node, even if its store is lost. If a lost store was moved aside and
    /// its successor is still empty, the lost one is opened.
    ///
    /// # Errors
    ///
    /// When the node runs, or the directory is not a node's, holds nothing, or cannot be read.
    pub fn open(dir: &Path) -> Result<Self, RecoveryError> {
        let stamp = Stamp::read(dir)?;
        let (path, stamp) = match stamp.folder_of_replaced(dir) {
            Some(folder) => {
                let stamp = Stamp::read(&folder)?;
                (folder, stamp)
            }
            // The node was stopped while the store was being moved.
            None if renewal::is_on_the_way(dir, &stamp) => {
                (renewal::folder(dir, stamp.store_id()), stamp)
            }
            None => (dir.to_owned(), stamp),
        };
        if !stamp.is_member() {
            return Err(RecoveryError::Empty);
        }
        let lost = lost::read(&path)?;
        let storage = Storage::open_as_found(&path)?;
        let map = ShardMapStore::open(storage.clone())?.get();
        if !map.is_initialized() {
            return Err(RecoveryError::Empty);
        }
        let (node, store_id) = (stamp.node()?, stamp.store_id().to_owned());
        Ok(Self { path, node, store_id, lost, map, storage })
    }

    /// A directory over a storage, for tests.
    #[cfg(test)]
    pub(super) fn over(storage: Storage, node: NodeId) -> Self {
        let (path, store_id) = (PathBuf::new(), String::new());
        Self { path, node, store_id, lost: None, map: Arc::default(), storage }
    }

    /// Its storage.
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The replicas of the node, by shard.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn replicas(&self) -> Result<Vec<ReplicaFound>, StorageError> {
        let shards = self.map.shards.keys();
        let mine =
            shards.filter_map(|shard| Some((*shard, self.map.replica_on(self.node, *shard)?)));
        mine.map(|(shard, replica)| self.replica(shard, replica)).collect()
    }

    fn replica(&self, shard: ShardId, replica: ReplicaId) -> Result<ReplicaFound, StorageError> {
        let keys = LogKeys::new(shard, replica);
        let meta = |key: &[u8]| self.storage.db().get_cf(self.storage.meta(), key);
        let vote: Option<pb::Vote> =
            meta(&keys.vote())?.map(|bytes| decode("vote", &bytes)).transpose()?;
        let diverged: Option<pb::DivergedRecord> =
            meta(&keys.diverged())?.map(|bytes| decode("divergence", &bytes)).transpose()?;
        let applied = snapshot::applied(&self.storage, shard, replica)?;
        let applied = applied.and_then(|record| record.last_applied);
        let noticed = diverged
            .as_ref()
            .filter(|record| record.noticed_by_replica_id == replica.0 && record.ours.is_none());
        Ok(ReplicaFound {
            leader_differed_at: noticed.map(|record| record.index),
            shard,
            replica,
            term: vote.map_or(0, |vote| vote.term),
            last_log_index: self.last_log_id(&keys)?.map_or(0, |id| id.index),
            applied_index: applied.map_or(0, |id| id.index),
            diverged_index: diverged.map(|record| record.index),
        })
    }

    /// The id of the last entry of a replica's log, or of the last purged entry.
    pub(super) fn last_log_id(&self, keys: &LogKeys) -> Result<Option<pb::LogId>, StorageError> {
        let end = keys.entry(u64::MAX);
        let mode = IteratorMode::From(&end, Direction::Reverse);
        let last = self.storage.db().iterator_cf(self.storage.log(), mode).next().transpose()?;
        if let Some((key, value)) = last
            && keys.index_of(&key).is_some()
        {
            return Ok(decode::<pb::LogEntry>("log entry", &value)?.log_id);
        }
        let purged = self.storage.db().get_cf(self.storage.meta(), keys.purged())?;
        purged.map(|bytes| decode("purge mark", &bytes)).transpose()
    }

    /// The entries of a replica's log after an index, in order.
    pub(super) fn log_after(
        &self,
        keys: LogKeys,
        after: u64,
    ) -> impl Iterator<Item = Result<pb::LogEntry, StorageError>> + '_ {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(keys.entry(u64::MAX));
        let first = keys.entry(after.saturating_add(1));
        let mode = IteratorMode::From(&first, Direction::Forward);
        let rows = self.storage.db().iterator_cf_opt(self.storage.log(), options, mode);
        rows.map(|row| decode("log entry", &row?.1))
    }

    /// Closes it, so that a node can use it again.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn close(self) -> Result<(), StorageError> {
        self.storage.close()
    }
}
