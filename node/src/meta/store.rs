//! The newest shard map a node knows. It is kept on disk, so that a node finds its replicas and
//! its peers again while the meta shard is away.

use std::sync::Arc;

use coupon_cluster::ShardMap;
use coupon_proto::internal as pb;
use coupon_wire::map;
use parking_lot::RwLock;
use prost::Message as _;
use rocksdb::WriteBatch;
use tokio::sync::watch;

use crate::storage::keys;
use crate::storage::ledger::decode;
use crate::storage::{Storage, StorageError};

/// The newest map known. Clones share it.
#[derive(Clone)]
pub struct ShardMapStore {
    storage: Storage,
    map: watch::Sender<Arc<ShardMap>>,
    applied: Arc<RwLock<Option<watch::Receiver<Arc<ShardMap>>>>>,
}

impl ShardMapStore {
    /// The map kept on disk; an unformed one if there is none.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn open(storage: Storage) -> Result<Self, StorageError> {
        let map = match storage.db().get_cf(storage.meta(), keys::KNOWN_MAP)? {
            Some(bytes) => map::map_from_pb(decode::<pb::ShardMap>("shard map", &bytes)?)
                .map_err(|error| StorageError::corrupt("shard map", error))?,
            None => ShardMap::default(),
        };
        Ok(Self { storage, map: watch::Sender::new(Arc::new(map)), applied: Arc::default() })
    }

    /// The map.
    pub fn get(&self) -> Arc<ShardMap> {
        self.map.borrow().clone()
    }

    /// The map that the meta replica of this node has applied, which may be newer; `None` if there is no such replica.
    pub fn applied(&self) -> Option<Arc<ShardMap>> {
        self.applied.read().as_ref().map(|applied| applied.borrow().clone())
    }

    /// Notes where the meta replica of this node tells what it has applied.
    pub(super) fn note_replica(&self, applied: watch::Receiver<Arc<ShardMap>>) {
        *self.applied.write() = Some(applied);
    }

    /// The map, now and whenever it changes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ShardMap>> {
        self.map.subscribe()
    }

    /// Takes over a map if it is newer than the one known, durable on return. A map of another
    /// cluster is left alone.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub async fn learn(&self, map: &Arc<ShardMap>) -> Result<(), StorageError> {
        let known = self.get();
        if known.is_initialized() && known.cluster_id != map.cluster_id {
            tracing::error!(
                ours = known.cluster_id,
                theirs = map.cluster_id,
                "a shard map of another cluster was offered and refused"
            );
            return Ok(());
        }
        if map.version <= known.version {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let value = map::map_to_pb(map).encode_to_vec();
        batch.put_cf(self.storage.meta(), keys::KNOWN_MAP, value);
        self.storage.write(batch)?;
        self.storage.flusher().durable().await;
        self.map.send_if_modified(|current| {
            let newer = map.version > current.version;
            if newer {
                *current = map.clone();
            }
            newer
        });
        Ok(())
    }
}
