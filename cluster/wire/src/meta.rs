//! Commands for the meta shard as messages.

use coupon_cluster::{MetaCommand, Origin, ReplicaId};
use coupon_proto::internal as pb;

use crate::Malformed;
use crate::ids::{node_id, shard_id};
use crate::map::{
    code_key_from_pb, code_key_to_pb, map_from_pb, map_to_pb, node_from_pb, node_to_pb,
};

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
        MetaCommand::AddCodeKey(key) => Kind::AddCodeKey(code_key_to_pb(key)),
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
        Kind::AddCodeKey(key) => MetaCommand::AddCodeKey(code_key_from_pb(key)?),
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

#[cfg(test)]
mod tests {
    use coupon_cluster::{CodeKey, KeyId};

    use super::*;

    #[test]
    fn a_code_key_comes_back() {
        let command = MetaCommand::AddCodeKey(CodeKey { id: KeyId(2), secret: [7; 32] });
        let written = command_to_pb(&command);
        assert_eq!(command_from_pb(written), Ok(command));
        let short = pb::CodeKey { key_id: 2, secret: vec![7; 31] };
        let short = pb::meta_command::Command::AddCodeKey(short);
        let short = pb::MetaCommand { command: Some(short), ..Default::default() };
        assert_eq!(command_from_pb(short), Err(Malformed("code key")));
    }
}
