//! What stays true of the shard map whatever commands come in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use coupon_cluster::{
    CodeKey, GenesisSpec, KeyId, MetaCommand, Node, NodeId, Origin, Replica, ReplicaId,
    ReplicaRole, ShardId, ShardMap,
};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError};

/// A step of a history. Those that pick something do so of the map as it is when they come.
#[derive(Clone, Debug)]
enum Step {
    /// A node registers as new or as a member, with one of few stores and starts so that they clash.
    Register { node: u64, store: u8, start: u8, member: bool },
    /// A node leaves.
    Remove { node: u64, only_unused: bool },
    /// The joining replica picked has joined; of the leaving ones in its shard, those at even
    /// places or all are reported removed.
    Join { pick: prop::sample::Index, all: bool },
    /// A report that may be nonsense.
    Report { shard: u32, replica: u64, removed: Vec<u64> },
    /// A code key.
    AddCodeKey { id: u32, secret: u8 },
    /// Genesis again.
    Genesis,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u64..=6, 0u8..20, 0u8..4, any::<bool>())
            .prop_map(|(node, store, start, member)| Step::Register { node, store, start, member }),
        1 => (1u64..=6, any::<bool>())
            .prop_map(|(node, only_unused)| Step::Remove { node, only_unused }),
        4 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(pick, all)| Step::Join { pick, all }),
        2 => (0u32..6, 0u64..40, prop::collection::vec(0u64..40, 0..3))
            .prop_map(|(shard, replica, removed)| Step::Report { shard, replica, removed }),
        1 => (1u32..6, 0u8..2).prop_map(|(id, secret)| Step::AddCodeKey { id, secret }),
        1 => Just(Step::Genesis),
    ];
    prop::collection::vec(step, 1..40)
}

fn genesis() -> ShardMap {
    let node = |id| {
        let node = Node {
            address: format!("address-{id}"),
            store_id: format!("store-{id}"),
            start_id: "start-0".into(),
        };
        (NodeId::new(id).expect("not 0"), node)
    };
    ShardMap::genesis(GenesisSpec {
        cluster_id: "the-cluster".into(),
        nodes: (1..=4).map(node).collect(),
        shard_count: 4,
        replication_factor: 3,
        code_secret: [1; 32],
    })
    .expect("four nodes can hold three replicas")
}

fn command(map: &ShardMap, step: &Step) -> Option<MetaCommand> {
    match step {
        Step::Register { node, store, start, member } => Some(MetaCommand::RegisterNode {
            id: NodeId::new(*node).expect("not 0"),
            node: Node {
                address: "anywhere".into(),
                store_id: format!("store-{store}"),
                start_id: format!("start-{start}"),
            },
            starts: (0..*start).map(|start| format!("start-{start}")).collect(),
            origin: if *member { Origin::Member } else { Origin::New },
            seen_start: NodeId::new(*node)
                .ok()
                .and_then(|id| map.nodes.get(&id))
                .map(|known| known.start_id.clone())
                .unwrap_or_default(),
        }),
        Step::Remove { node, only_unused } => Some(MetaCommand::RemoveNode {
            id: NodeId::new(*node).expect("not 0"),
            only_unused: *only_unused,
        }),
        Step::Join { pick, all } => {
            let found = |is_it: fn(&Replica) -> bool| {
                let shards = map.shards.iter();
                shards.flat_map(move |(&shard, replicas)| {
                    let found = replicas.iter().filter(move |(_, replica)| is_it(replica));
                    found.map(move |(&id, _)| (shard, id))
                })
            };
            let joining: Vec<(ShardId, ReplicaId)> =
                found(|replica| replica.role == ReplicaRole::Joining).collect();
            if joining.is_empty() {
                return None;
            }
            let (shard, replica) = *pick.get(&joining);
            let leaving = found(Replica::is_to_go).filter(|(of, _)| *of == shard);
            let removed = leaving.map(|(_, id)| id).step_by(if *all { 1 } else { 2 }).collect();
            Some(MetaCommand::ReplicaJoined { shard, replica, removed })
        }
        Step::Report { shard, replica, removed } => Some(MetaCommand::ReplicaJoined {
            shard: ShardId::new(*shard).expect("small"),
            replica: ReplicaId(*replica),
            removed: removed.iter().copied().map(ReplicaId).collect(),
        }),
        Step::AddCodeKey { id, secret } => {
            Some(MetaCommand::AddCodeKey(CodeKey { id: KeyId(*id), secret: [*secret; 32] }))
        }
        Step::Genesis => Some(MetaCommand::Genesis(genesis())),
    }
}

/// All replicas with their shards and nodes, which a replica never changes.
fn homes(map: &ShardMap) -> BTreeMap<ReplicaId, (ShardId, NodeId)> {
    let replicas = map.shards.iter().flat_map(|(&shard, replicas)| {
        replicas.iter().map(move |(&id, replica)| (id, (shard, replica.node)))
    });
    replicas.collect()
}

/// Checks one step; `gone` are the replicas that were there once.
fn check_step(
    before: &ShardMap,
    after: &ShardMap,
    refused: bool,
    gone: &mut BTreeSet<ReplicaId>,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(after.check(), Ok(()));
    let mut same_version = after.clone();
    same_version.version = before.version;
    let changed = same_version != *before;
    prop_assert!(!(refused && changed), "a refused command changed the map");
    prop_assert_eq!(after.version, before.version + u64::from(changed));

    // Codes of every key are held by people.
    prop_assert!(before.code_keys.iter().all(|(id, key)| after.code_keys.get(id) == Some(key)));

    let (old, new) = (homes(before), homes(after));
    for (id, home) in &new {
        match old.get(id) {
            Some(old_home) => prop_assert_eq!(old_home, home, "replica {} moved", id),
            None => prop_assert!(*id >= before.next_replica_id, "replica id {} again", id),
        }
        prop_assert!(!gone.contains(id));
    }
    gone.extend(old.keys().filter(|id| !new.contains_key(id)));

    // A node that has a place in a shard keeps one, unless it leaves: a lost disk is replaced, never
    // given up.
    for shard in before.shards.keys() {
        let gone = before.owner_nodes(*shard);
        let mut gone = gone.difference(&after.owner_nodes(*shard)).copied().collect::<Vec<_>>();
        gone.retain(|node| !before.leaving_nodes.contains(node));
        gone.retain(|node| !after.leaving_nodes.contains(node));
        prop_assert!(gone.is_empty(), "nodes {:?} lost their place in shard {}", gone, shard);
        let live = |map: &ShardMap| {
            let replicas = map.shards[shard].values();
            replicas.filter(|replica| !replica.is_to_go()).count()
        };
        prop_assert_eq!(live(before), live(after), "shard {} has fewer replicas", shard);
        for node in after.nodes.keys() {
            let replica = after.replica_on(*node, *shard);
            prop_assert_eq!(replica.is_some(), after.owner_nodes(*shard).contains(node));
        }
    }
    Ok(())
}

/// Leaders are voters, and every shard that has voters has one.
fn check_leaders(map: &ShardMap) -> Result<(), TestCaseError> {
    let leaders = map.preferred_leaders();
    for (shard, replicas) in &map.shards {
        let has_voters = replicas.values().any(|replica| replica.is_voter());
        prop_assert_eq!(leaders.contains_key(shard), has_voters);
        if let Some(leader) = leaders.get(shard) {
            prop_assert!(replicas[leader].is_voter());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(0x006d_6170),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariants_hold_through_any_history(steps in steps()) {
        let mut map = genesis();
        let mut gone = BTreeSet::new();
        let mut log = Vec::new();
        for step in steps {
            let Some(command) = command(&map, &step) else { continue };
            let before = map.clone();
            let answer = map.apply(command.clone());
            check_step(&before, &map, answer.is_err(), &mut gone)?;
            check_leaders(&map)?;

            let mut repeated = map.clone();
            prop_assert_eq!(&repeated.apply(command.clone()), &answer);
            prop_assert_eq!(&repeated, &map, "repeating a command changed the map");
            log.push((command, answer));
        }

        let mut replayed = genesis();
        for (command, answer) in log {
            prop_assert_eq!(replayed.apply(command), answer);
        }
        prop_assert_eq!(replayed, map);
    }
}
