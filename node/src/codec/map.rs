//! The shard map and its commands as messages.

use coupon_cluster::{
    CodeKey, Epoch, KeyId, MetaCommand, Node, NodeId, Origin, Replica, ReplicaId, ReplicaRole,
    ShardId, ShardMap, StateDigest,
};
use coupon_proto::internal as pb;

use crate::codec::Malformed;

/// A node id from a message.
///
/// # Errors
///
/// When it is 0.
pub fn node_id(id: u64) -> Result<NodeId, Malformed> {
    NodeId::new(id).map_err(|_| Malformed("node id"))
}

/// A shard id from a message.
///
/// # Errors
///
/// When it is out of range.
pub fn shard_id(id: u32) -> Result<ShardId, Malformed> {
    ShardId::new(id).map_err(|_| Malformed("shard id"))
}

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
        code_keys: map
            .code_keys
            .values()
            .map(|key| pb::CodeKey { key_id: key.id.0, secret: key.secret.to_vec() })
            .collect(),
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
        .map(|key| {
            let secret = key.secret.try_into().map_err(|_| Malformed("code key"))?;
            let id = KeyId(key.key_id);
            Ok((id, CodeKey { id, secret }))
        })
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
        ReplicaRole::Founder => pb::ReplicaRole::Founder,
        ReplicaRole::Joining => pb::ReplicaRole::Joining,
        ReplicaRole::Voter => pb::ReplicaRole::Voter,
        ReplicaRole::Leaving => pb::ReplicaRole::Leaving,
        ReplicaRole::Retiring => pb::ReplicaRole::Retiring,
    };
    pb::ReplicaInfo { replica_id: id.0, node_id: replica.node.get(), role: role.into() }
}

fn replica_from_pb(replica: pb::ReplicaInfo) -> Result<(ReplicaId, Replica), Malformed> {
    let role = match replica.role() {
        pb::ReplicaRole::Founder => ReplicaRole::Founder,
        pb::ReplicaRole::Joining => ReplicaRole::Joining,
        pb::ReplicaRole::Voter => ReplicaRole::Voter,
        pb::ReplicaRole::Leaving => ReplicaRole::Leaving,
        pb::ReplicaRole::Retiring => ReplicaRole::Retiring,
        pb::ReplicaRole::Unspecified => return Err(Malformed("replica role")),
    };
    Ok((ReplicaId(replica.replica_id), Replica { node: node_id(replica.node_id)?, role }))
}

/// The origin of the store of a node that registers.
pub fn origin(was_member: bool, replaces_store_id: String) -> Origin {
    match (replaces_store_id.is_empty(), was_member) {
        (false, _) => Origin::Replaces(replaces_store_id),
        (true, true) => Origin::Member,
        (true, false) => Origin::New,
    }
}

/// A command for the meta shard as a message.
pub fn command_to_pb(command: &MetaCommand) -> pb::MetaCommand {
    use pb::meta_command::Command as Kind;
    let kind = match command {
        MetaCommand::Genesis(map) => Kind::Genesis(pb::Genesis { map: Some(map_to_pb(map)) }),
        MetaCommand::RegisterNode { id, node, starts, origin, seen_start } => {
            Kind::RegisterNode(pb::RegisterNode {
                node: Some(node_to_pb(*id, node)),
                known_start_ids: starts.clone(),
                was_member: *origin == Origin::Member,
                seen_start_id: seen_start.clone(),
                replaces_store_id: match origin {
                    Origin::Replaces(store_id) => store_id.clone(),
                    Origin::New | Origin::Member => String::new(),
                },
            })
        }
        MetaCommand::Recover { version } => Kind::Recover(pb::Recover { version: *version }),
        MetaCommand::RemoveNode { id, only_unused } => {
            Kind::RemoveNode(pb::RemoveNode { node_id: id.get(), only_unused: *only_unused })
        }
        MetaCommand::ReplicaJoined { shard, replica, removed } => {
            Kind::ReplicaJoined(pb::ReplicaJoined {
                shard_id: shard.get(),
                replica_id: replica.0,
                removed_replica_ids: removed.iter().map(|id| id.0).collect(),
            })
        }
    };
    pb::MetaCommand { command: Some(kind), ..Default::default() }
}

/// A command for the meta shard from a message.
///
/// # Errors
///
/// When a part is missing or an id is out of range.
pub fn command_from_pb(command: pb::MetaCommand) -> Result<MetaCommand, Malformed> {
    use pb::meta_command::Command as Kind;
    Ok(match command.command.ok_or(Malformed("meta command"))? {
        Kind::Genesis(genesis) => {
            MetaCommand::Genesis(map_from_pb(genesis.map.ok_or(Malformed("first map"))?)?)
        }
        Kind::RegisterNode(register) => {
            let (id, node) = node_from_pb(register.node.ok_or(Malformed("node"))?)?;
            let origin = origin(register.was_member, register.replaces_store_id);
            MetaCommand::RegisterNode {
                id,
                node,
                starts: register.known_start_ids,
                origin,
                seen_start: register.seen_start_id,
            }
        }
        Kind::Recover(recover) => MetaCommand::Recover { version: recover.version },
        Kind::RemoveNode(remove) => MetaCommand::RemoveNode {
            id: node_id(remove.node_id)?,
            only_unused: remove.only_unused,
        },
        Kind::ReplicaJoined(joined) => MetaCommand::ReplicaJoined {
            shard: shard_id(joined.shard_id)?,
            replica: ReplicaId(joined.replica_id),
            removed: joined.removed_replica_ids.into_iter().map(ReplicaId).collect(),
        },
    })
}
