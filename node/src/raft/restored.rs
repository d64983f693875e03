//! How a replica of a restored cluster begins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coupon_cluster::{ReplicaRole, ShardMap};
use coupon_wire::Malformed;

use super::types::{Member, Membership, membership_to_pb};
use crate::storage::restore::{self, Staging};
use crate::storage::snapshot::ReplicaKey;
use crate::storage::{Storage, StorageError};

/// Makes an initial replica begin with the state that the map says its shard was restored from; idempotent. Does
/// nothing to other replicas: one that joins later gets its state from the group.
///
/// # Errors
///
/// When that state is missing or damaged here, or the disk fails. The replica must not start then: it would
/// found the shard without its coupons.
pub async fn begin(
    storage: &Storage,
    data_dir: PathBuf,
    map: &ShardMap,
    key: ReplicaKey,
) -> Result<(), StorageError> {
    let Some(state) = map.restored.get(&key.shard).copied() else { return Ok(()) };
    // The map lists the initial replicas as long as none was replaced, as in a group that begins empty.
    let replicas = map.shards.get(&key.shard).into_iter().flatten();
    let is_first = replicas.clone().all(|(_, replica)| replica.role == ReplicaRole::Initial);
    if !is_first || !replicas.clone().any(|(id, _)| *id == key.replica) {
        return Ok(());
    }
    let members = replicas.map(|(id, replica)| (id.0, Member { node_id: replica.node.get() }));
    let members: BTreeMap<u64, Member> = members.collect();
    let voters = members.keys().copied().collect();
    let membership = Membership::new(vec![voters], members)
        .map_err(|_| StorageError::corrupt("shard map", Malformed("initial replicas")))?;
    let storage = storage.clone();
    let installed = tokio::task::spawn_blocking(move || {
        let membership = membership_to_pb(&membership);
        restore::install(&storage, &Staging::new(&data_dir), key, &state, membership)
    });
    match installed.await {
        Ok(installed) => installed,
        Err(error) => Err(StorageError::corrupt("restored state", error)),
    }
}
