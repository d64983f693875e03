//! The shard map, and the commands that change it.

use coupon_cluster::{Epoch, MetaCommand, Origin, ReplicaId, ShardMap};
use coupon_proto::internal as pb;
use coupon_wire::{map, meta};
use prost::Message as _;

use crate::{KEY, LAYOUT, golden};

/// A map: what stands in a `MAP` and an `M` row, and in a backup.
const SHARD_MAP: &str = "
    0a 07 63 6c 75 73 74 65 72       | cluster_id cluster
    10 05  18 02                     | version 5, epoch 2
    22 16                            | nodes
       08 03  12 04 6e 33 3a 31      |    node_id 3, address n3:1
       1a 05 73 74 6f 72 65          |    store_id store
       22 05 73 74 61 72 74          |    start_id start
    2a 0b                            | shards
       08 82 02                      |    shard_id 258
       12 06  08 07  10 03  18 03    |    replicas: replica_id 7, node_id 3, a voter
    32 02 82 02                      | ring_shards 258
    3a 24                            | code_keys
       08 01                         |    key_id 1
       12 20 33 33 33 33 33 33 33 33 33 33 33 33 33 33 33 33 | secret
             33 33 33 33 33 33 33 33 33 33 33 33 33 33 33 33 |
    40 08                            | next_replica_id 8
    4a 01 03                         | leaving_node_ids 3
    62 25                            | restored_shards
       08 82 02                      |    shard_id 258
       12 20 44 44 44 44 44 44 44 44 44 44 44 44 44 44 44 44 | state_digest
             44 44 44 44 44 44 44 44 44 44 44 44 44 44 44 44 |
";

#[test]
fn the_shard_map_and_its_commands_are_as_ever() {
    let read = |text| pb::ShardMap::decode(&golden::bytes(text)[..]).unwrap();
    let shard_map = map::map_from_pb(read(SHARD_MAP)).unwrap();
    assert_eq!((shard_map.version, shard_map.epoch), (5, Epoch(2)));
    assert_eq!(shard_map.ring_shards, [KEY.shard].into());
    assert_eq!(shard_map.restored, [(KEY.shard, [0x44; 32])].into());
    let found = map::map_to_pb(&shard_map).encode_to_vec();
    golden::check("the shard map", LAYOUT, &found, SHARD_MAP);

    let (id, node) = shard_map.nodes.first_key_value().unwrap();
    let register = MetaCommand::RegisterNode {
        id: *id,
        node: node.clone(),
        starts: vec!["s1".into()],
        origin: Origin::Member,
        seen_start: "s0".into(),
    };
    let joined = MetaCommand::ReplicaJoined {
        shard: KEY.shard,
        replica: ReplicaId(8),
        removed: vec![KEY.replica],
    };
    let first = ShardMap { cluster_id: "cluster".into(), ..ShardMap::default() };
    let commands = [
        (MetaCommand::Genesis(first), "0a 0b  0a 09  0a 07 63 6c 75 73 74 65 72"),
        (
            register,
            "12 22  0a 16 08 03 12 04 6e 33 3a 31 1a 05 73 74 6f 72 65 22 05 73 74 61 72 74
                    12 02 73 31  18 01  2a 02 73 30",
        ),
        (joined, "1a 08  08 82 02  10 08  1a 01 07"),
        (MetaCommand::RemoveNode { id: *id, only_unused: true }, "22 04  08 03  10 01"),
        (MetaCommand::Recover { version: 9 }, "2a 02  08 09"),
    ];
    for (command, expected) in &commands {
        let found = meta::command_to_pb(command).encode_to_vec();
        golden::check("commands of the meta shard", LAYOUT, &found, expected);
    }
}
