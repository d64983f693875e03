//! What a node keeps of its membership in a cluster: which cluster it is in, its last registered start, its peers.
//!
//! The identity file is synced on a thread for that. Other tasks see the old identity until the new one is durable.

use std::sync::Arc;

use coupon_cluster::ShardMap;
use tokio::sync::OwnedMutexGuard;

use super::{Node, StopReason, malformed};
use crate::storage::fatal;
use crate::storage::identity::{Identity, IdentityError};

impl Node {
    /// Joins the cluster of a map that names this node's store, durably.
    ///
    /// # Errors
    ///
    /// When the data directory belongs to another cluster. A disk that fails ends the process.
    pub async fn adopt(self: &Arc<Self>, map: &Arc<ShardMap>) -> Result<(), IdentityError> {
        self.identity.lock().check_cluster(&map.cluster_id)?;
        // To its end, even if the caller goes away: what this process knows must not lag behind its disk.
        let (node, map) = (Arc::clone(self), Arc::clone(map));
        let joining = tokio::spawn(async move {
            // The map first: with it, a directory that was not stamped in time is at the next start.
            match node.known.learn(&map).await {
                Ok(()) => node.stamp(&map.cluster_id).await,
                Err(fault) => Err(fault.into()),
            }
        });
        match joining.await.expect("joining a cluster does not panic") {
            Err(IdentityError::Storage(fault)) => fatal::abort("joining a cluster", &fault),
            joined => joined,
        }
    }

    async fn stamp(&self, cluster_id: &str) -> Result<(), IdentityError> {
        let wanted = cluster_id.to_owned();
        let (joined, _turn) = self.changed_identity(move |identity| identity.join(&wanted)).await?;
        let mut identity = self.identity.lock();
        *identity = joined;
        // Under the lock: a node that has heard of this membership may call at once.
        self.answerer.join(cluster_id).map_err(malformed)
    }

    /// Whether a map still has a place for this process. What it says of the process and its peers is kept, durable on
    /// return.
    pub(super) async fn check_place(&self, map: &ShardMap) -> Result<(), StopReason> {
        let peers: Vec<String> = map.nodes.values().map(|node| node.address.clone()).collect();
        let start_id = {
            let identity = self.identity.lock();
            // A store that is in no cluster has no place yet.
            if identity.cluster_id() != Some(&map.cluster_id) {
                return Ok(());
            }
            let mine = map.nodes.get(&self.config.node_id).ok_or(StopReason::Removed)?;
            if mine.store_id != identity.store_id() {
                return Err(StopReason::Replaced);
            }
            if !identity.remembers(&mine.start_id) {
                // Before replicas run it is for the meta shard to say what that means.
                return match self.is_admitted() {
                    true => Err(StopReason::Superseded(mine.address.clone())),
                    false => Ok(()),
                };
            }
            if identity.has_noted(&mine.start_id, &peers) {
                return Ok(());
            }
            mine.start_id.clone()
        };
        let noting = self.changed_identity(move |identity| identity.note(&start_id, &peers));
        match noting.await {
            Ok((noted, _turn)) => *self.identity.lock() = noted,
            Err(fault) => fatal::abort("noting that this start is registered", &fault),
        }
        Ok(())
    }

    /// The identity as `change` makes it, which waits for the disk. Nothing else changes it before the guard is dropped.
    async fn changed_identity<E: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Identity) -> Result<(), E> + Send + 'static,
    ) -> Result<(Identity, OwnedMutexGuard<()>), E> {
        let turn = self.identity_turn.clone().lock_owned().await;
        let mut identity = self.identity.lock().clone();
        let changing = tokio::task::spawn_blocking(move || {
            change(&mut identity)?;
            Ok((identity, turn))
        });
        changing.await.expect("changing the identity does not panic")
    }
}
