//! The shard map as a message.

use coupon_cluster::{
    CodeKey, Epoch, KeyId, Node, NodeId, Replica, ReplicaId, ReplicaRole, ShardId, ShardMap,
    StateDigest,
};
use coupon_proto::internal as pb;

use crate::Malformed;
use crate::ids::{node_id, shard_id};

/// A shard map as a message.
pub fn map_to_pb(map: &ShardMap) -> pb::ShardMap {
    pb::ShardMap {
        cluster_id: map.cluster_id.clone(),
        version: map.version,
        epoch: map.epoch.0,
        nodes: map.nodes.iter().map(|(id, node)| node_to_pb(*id, node)).collect(),
        shards: map
            .shards
            .iter()
            .map(|(shard, replicas)| pb::ShardInfo {
                shard_id: shard.get(),
                replicas: replicas
                    .iter()
                    .map(|(id, replica)| replica_to_pb(*id, replica))
                    .collect(),
            })
            .collect(),
        ring_shards: map.ring_shards.iter().map(|shard| shard.get()).collect(),
        code_keys: map.code_keys.values().map(code_key_to_pb).collect(),
        next_replica_id: map.next_replica_id.0,
        leaving_node_ids: map.leaving_nodes.iter().map(|node| node.get()).collect(),
        restored_shards: map
            .restored
            .iter()
            .map(|(shard, state)| restored_to_pb(*shard, state))
            .collect(),
    }
}

/// A shard map from a message.
///
/// # Errors
///
/// When an id is out of range, or a key has not 32 bytes.
pub fn map_from_pb(map: pb::ShardMap) -> Result<ShardMap, Malformed> {
    let nodes = map.nodes.into_iter().map(node_from_pb).collect::<Result<_, _>>()?;
    let shards = map
        .shards
        .into_iter()
        .map(|shard| {
            let replicas =
                shard.replicas.into_iter().map(replica_from_pb).collect::<Result<_, _>>()?;
            Ok((shard_id(shard.shard_id)?, replicas))
        })
        .collect::<Result<_, Malformed>>()?;
    let code_keys = map
        .code_keys
        .into_iter()
        .map(|key| code_key_from_pb(key).map(|key| (key.id, key)))
        .collect::<Result<_, Malformed>>()?;
    Ok(ShardMap {
        cluster_id: map.cluster_id,
        version: map.version,
        epoch: Epoch(map.epoch),
        nodes,
        shards,
        ring_shards: map.ring_shards.into_iter().map(shard_id).collect::<Result<_, _>>()?,
        code_keys,
        next_replica_id: ReplicaId(map.next_replica_id),
        leaving_nodes: map.leaving_node_ids.into_iter().map(node_id).collect::<Result<_, _>>()?,
        restored: map.restored_shards.iter().map(restored_from_pb).collect::<Result<_, _>>()?,
    })
}

/// A key of codes as a message.
pub(crate) fn code_key_to_pb(key: &CodeKey) -> pb::CodeKey {
    pb::CodeKey { key_id: key.id.0, secret: key.secret.to_vec() }
}

/// A key of codes from a message.
pub(crate) fn code_key_from_pb(key: pb::CodeKey) -> Result<CodeKey, Malformed> {
    let secret = key.secret.try_into().map_err(|_| Malformed("code key"))?;
    Ok(CodeKey { id: KeyId(key.key_id), secret })
}

/// The state that a shard began with, as a message.
pub fn restored_to_pb(shard: ShardId, state: &StateDigest) -> pb::RestoredShard {
    pb::RestoredShard { shard_id: shard.get(), state_digest: state.to_vec() }
}

/// The state that a shard began with, from a message.
///
/// # Errors
///
/// When the shard id is out of range, or the digest is not 32 bytes.
pub fn restored_from_pb(restored: &pb::RestoredShard) -> Result<(ShardId, StateDigest), Malformed> {
    let state = restored.state_digest.as_slice().try_into();
    Ok((shard_id(restored.shard_id)?, state.map_err(|_| Malformed("state digest"))?))
}

/// A node as a message.
pub fn node_to_pb(id: NodeId, node: &Node) -> pb::NodeInfo {
    pb::NodeInfo {
        node_id: id.get(),
        address: node.address.clone(),
        store_id: node.store_id.clone(),
        start_id: node.start_id.clone(),
    }
}

/// A node from a message.
///
/// # Errors
///
/// When its id is 0.
pub fn node_from_pb(node: pb::NodeInfo) -> Result<(NodeId, Node), Malformed> {
    let pb::NodeInfo { node_id: id, address, store_id, start_id } = node;
    Ok((node_id(id)?, Node { address, store_id, start_id }))
}

fn replica_to_pb(id: ReplicaId, replica: &Replica) -> pb::ReplicaInfo {
    let role = match replica.role {
        ReplicaRole::Initial => pb::ReplicaRole::Initial,
        ReplicaRole::Joining => pb::ReplicaRole::Joining,
        ReplicaRole::Voter => pb::ReplicaRole::Voter,
        ReplicaRole::Leaving => pb::ReplicaRole::Leaving,
        ReplicaRole::Retiring => pb::ReplicaRole::Retiring,
    };
    pb::ReplicaInfo { replica_id: id.0, node_id: replica.node.get(), role: role.into() }
}

fn replica_from_pb(replica: pb::ReplicaInfo) -> Result<(ReplicaId, Replica), Malformed> {
    let role = match replica.role() {
        pb::ReplicaRole::Initial => ReplicaRole::Initial,
        pb::ReplicaRole::Joining => ReplicaRole::Joining,
        pb::ReplicaRole::Voter => ReplicaRole::Voter,
        pb::ReplicaRole::Leaving => ReplicaRole::Leaving,
        pb::ReplicaRole::Retiring => ReplicaRole::Retiring,
        pb::ReplicaRole::Unspecified => return Err(Malformed("replica role")),
    };
    Ok((ReplicaId(replica.replica_id), Replica { node: node_id(replica.node_id)?, role }))
}
