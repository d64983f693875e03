//! Registration: which process may act for a node.
//!
//! Identity is the store, the data directory a node runs on, and not the address, which may change. A store
//! alone is not enough either: a directory can be copied, or replaced by an older copy. So each start of a
//! store draws a start id, keeps it in the directory and has it registered; the next start must remember the
//! last registered one. Of two processes on copies of one directory, the second to register does not remember
//! the start of the first. An older copy does not remember the starts that came after it.

use super::{MetaRefusal, Node, Replica, ReplicaRole, ShardMap};
use crate::ids::{NodeId, ShardId};

/// Where the store of a node that registers comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is new and has never been in the cluster. If the node had another store, that disk is lost.
    New,
    /// It replaces the node's store of this id, which has lost acknowledged writes.
    Replaces(String),
    /// It has been in the cluster. Such a store never replaces another: if it is no longer the node's, the
    /// cluster has written its votes and entries off.
    Member,
}

impl Node {
    /// Whether it has every field that the map keeps of a node.
    pub(super) fn is_complete(&self) -> bool {
        !self.address.is_empty() && !self.store_id.is_empty() && !self.start_id.is_empty()
    }
}

impl ShardMap {
    /// Applies [`MetaCommand::RegisterNode`](super::MetaCommand::RegisterNode).
    pub(super) fn register(
        &mut self,
        id: NodeId,
        node: Node,
        starts: &[String],
        origin: &Origin,
        seen_start: &str,
    ) -> Result<(), MetaRefusal> {
        if !node.is_complete() {
            return Err(MetaRefusal::NodeIncomplete(id));
        }
        let holds =
            |(other, held): &(&NodeId, &Node)| **other != id && held.store_id == node.store_id;
        if let Some((&holder, _)) = self.nodes.iter().find(holds) {
            return Err(MetaRefusal::StoreTaken { holder });
        }
        match self.nodes.get(&id) {
            Some(known) if *known == node => return Ok(()),
            Some(known) if known.store_id == node.store_id => {
                if known.start_id != node.start_id && !starts.contains(&known.start_id) {
                    return Err(MetaRefusal::StartUnknown(id));
                }
                if known.start_id != node.start_id && known.start_id != seen_start {
                    return Err(MetaRefusal::SeenOutdated(id));
                }
            }
            Some(known) => {
                let takes_over = match origin {
                    Origin::New => true,
                    Origin::Replaces(store_id) => *store_id == known.store_id,
                    Origin::Member => false,
                };
                if !takes_over {
                    return Err(MetaRefusal::StoreReplaced(id));
                }
                if known.start_id != seen_start {
                    return Err(MetaRefusal::SeenOutdated(id));
                }
                self.check_survivors(id)?;
                self.replace_replicas_on(id);
            }
            None if *origin == Origin::New => {}
            None => return Err(MetaRefusal::NodeRemoved(id)),
        }
        self.nodes.insert(id, node);
        self.version += 1;
        Ok(())
    }

    /// A disk may be written off only where enough replicas survive: a majority of the voters of
    /// each of the node's shards, counting those that were written off and not replaced yet.
    pub(super) fn check_survivors(&self, node: NodeId) -> Result<(), MetaRefusal> {
        for (&shard, replicas) in &self.shards {
            let loses = |replica: &&Replica| replica.is_voter() && replica.node == node;
            if !replicas.values().any(|replica| loses(&replica)) {
                continue;
            }
            let members = replicas.values().filter(|one| one.is_voter() || one.is_leaving());
            let left = replicas.values().filter(|one| one.is_voter() && one.node != node);
            if left.count() * 2 <= members.count() {
                return Err(MetaRefusal::QuorumAtRisk { node, shard });
            }
        }
        Ok(())
    }

    /// Replaces every live replica on a node whose disk is lost by a fresh one. A retiring replica already
    /// has a successor on another node.
    ///
    /// A joining replica is given up like a voter: its group may have made it a learner or voter
    /// already, before the map knows.
    fn replace_replicas_on(&mut self, node: NodeId) {
        let shards: Vec<ShardId> = self.shards.keys().copied().collect();
        for shard in shards {
            let Some(lost) = self.replica_on(node, shard) else { continue };
            let fresh = self.take_replica_id();
            let replicas = self.shards.entry(shard).or_default();
            let leaving = Replica { node, role: ReplicaRole::Leaving };
            let retired =
                replicas.insert(lost, leaving).is_some_and(|old| old.role == ReplicaRole::Retiring);
            if !retired {
                replicas.insert(fresh, Replica { node, role: ReplicaRole::Joining });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReplicaId;
    use crate::map::MetaCommand;
    use crate::map::genesis::tests::genesis_of;

    fn node_id(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn shard_id(id: u32) -> ShardId {
        ShardId::new(id).unwrap()
    }

    fn node(address: &str, store: &str, start: &str) -> Node {
        Node { address: address.into(), store_id: store.into(), start_id: start.into() }
    }

    /// A registration whose sender has seen the newest map.
    fn register(
        map: &ShardMap,
        id: u64,
        node: Node,
        starts: &[&str],
        origin: Origin,
    ) -> MetaCommand {
        let (id, starts) = (node_id(id), starts.iter().map(|&start| start.to_owned()).collect());
        let seen_start = map.nodes.get(&id).map(|known| known.start_id.clone()).unwrap_or_default();
        MetaCommand::RegisterNode { id, node, starts, origin, seen_start }
    }

    /// A node with a new store.
    fn fresh(map: &ShardMap, id: u64, store: &str) -> MetaCommand {
        register(map, id, node(&format!("n{id}:7000"), store, "start"), &[], Origin::New)
    }

    fn joined(shard: u32, replica: u64, removed: &[u64]) -> MetaCommand {
        let removed = removed.iter().copied().map(ReplicaId).collect();
        MetaCommand::ReplicaJoined { shard: shard_id(shard), replica: ReplicaId(replica), removed }
    }

    /// Roles of a shard's replicas as `id@node role`.
    fn roles(map: &ShardMap, shard: u32) -> Vec<String> {
        let describe = |(id, replica): (&ReplicaId, &Replica)| {
            format!("{id}@{} {:?}", replica.node, replica.role)
        };
        map.shards[&shard_id(shard)].iter().map(describe).collect()
    }

    #[test]
    fn a_node_comes_and_moves() {
        let mut map = genesis_of(3, 2, 3);
        let shards = map.shards.clone();
        map.apply(register(&map, 4, node("n4:7000", "store-4", "one"), &[], Origin::New)).unwrap();
        assert_eq!((map.version, map.nodes.len()), (2, 4));
        map.apply(register(&map, 4, node("n4:7000", "store-4", "one"), &[], Origin::New)).unwrap();
        assert_eq!(map.version, 2);
        let moved = node("elsewhere:7000", "store-4", "two");
        map.apply(register(&map, 4, moved, &["one"], Origin::Member)).unwrap();
        assert_eq!((map.version, &map.shards), (3, &shards));
        assert_eq!(map.nodes[&node_id(4)].address, "elsewhere:7000");
    }

    #[test]
    fn two_nodes_exchange_their_addresses() {
        let mut map = genesis_of(3, 2, 3);
        let two = node("n3:7000", "store-2", "start-2");
        let three = node("n2:7000", "store-3", "start-3");
        map.apply(register(&map, 2, two.clone(), &[], Origin::Member)).unwrap();
        assert_eq!(map.check(), Ok(()));
        map.apply(register(&map, 3, three.clone(), &[], Origin::Member)).unwrap();
        assert_eq!((&map.nodes[&node_id(2)], &map.nodes[&node_id(3)]), (&two, &three));
    }

    #[test]
    fn a_start_that_does_not_remember_the_last_one_is_refused() {
        let mut map = genesis_of(3, 2, 3);
        let starting = |map: &ShardMap, start, starts: &[&str]| {
            register(map, 3, node("n3:7000", "store-3", start), starts, Origin::Member)
        };
        // A start that was never registered does no harm.
        map.apply(starting(&map, "b", &["start-3", "a"])).unwrap();
        let unknown = Err(MetaRefusal::StartUnknown(node_id(3)));
        let before = map.clone();
        assert_eq!(
            map.apply(starting(&map, "copy", &["start-3"])),
            unknown,
            "a copy of the directory"
        );
        assert_eq!(map.apply(starting(&map, "a", &["start-3"])), unknown, "an older state of it");
        assert_eq!(map, before);
        map.apply(starting(&map, "c", &["b"])).unwrap();
        map.apply(starting(&map, "c", &["b"])).unwrap();
    }

    #[test]
    fn a_store_that_was_replaced_does_not_come_back() {
        let mut map = genesis_of(3, 2, 3);
        map.apply(fresh(&map, 3, "fresh")).unwrap();
        let before = map.clone();
        let old = register(&map, 3, node("n3:7000", "store-3", "x"), &["start-3"], Origin::Member);
        assert_eq!(map.apply(old), Err(MetaRefusal::StoreReplaced(node_id(3))));
        assert_eq!(map, before);
        // The one that took its place may move all the same.
        let moved =
            register(&map, 3, node("elsewhere:7000", "fresh", "y"), &["start"], Origin::Member);
        map.apply(moved).unwrap();
        assert_eq!(map.nodes[&node_id(3)].address, "elsewhere:7000");
    }

    #[test]
    fn a_store_that_lost_writes_is_replaced_once() {
        let mut map = genesis_of(3, 2, 3);
        map.apply(joined(0, 2, &[])).unwrap();
        map.apply(joined(0, 3, &[])).unwrap();
        let successor = |map: &ShardMap, store| {
            let origin = Origin::Replaces("store-3".into());
            register(map, 3, node("n3:7000", store, "start"), &[], origin)
        };
        map.apply(successor(&map, "next")).unwrap();
        let before = map.clone();
        map.apply(successor(&map, "next")).unwrap();
        assert_eq!(map, before);
        let late = map.apply(successor(&map, "another"));
        assert_eq!(late, Err(MetaRefusal::StoreReplaced(node_id(3))));
        assert_eq!(map, before);
    }

    #[test]
    fn only_a_new_store_makes_a_new_node() {
        let mut map = genesis_of(3, 2, 3);
        let gone = Err(MetaRefusal::NodeRemoved(node_id(9)));
        let nine = node("n9:7000", "store-9", "start");
        assert_eq!(map.apply(register(&map, 9, nine.clone(), &[], Origin::Member)), gone);
        let origin = Origin::Replaces("store-8".into());
        assert_eq!(map.apply(register(&map, 9, nine, &[], origin)), gone);
    }

    #[test]
    fn nodes_share_no_store_and_lack_nothing() {
        let mut map = genesis_of(3, 2, 3);
        let before = map.clone();
        let (holder, incomplete) = (node_id(1), MetaRefusal::NodeIncomplete(node_id(4)));
        for (registered, refusal) in [
            (node("n4:7000", "store-1", "s"), MetaRefusal::StoreTaken { holder }),
            (node("", "store-4", "s"), incomplete.clone()),
            (node("n4:7000", "", "s"), incomplete.clone()),
            (node("n4:7000", "store-4", ""), incomplete),
        ] {
            assert_eq!(map.apply(register(&map, 4, registered, &[], Origin::New)), Err(refusal));
        }
        assert_eq!(map, before);
    }

    #[test]
    fn a_lost_disk_means_fresh_replicas() {
        let mut map = genesis_of(3, 2, 3);
        assert_eq!(roles(&map, 0), ["1@1 Initial", "2@2 Joining", "3@3 Joining"]);
        assert_eq!(roles(&map, 1), ["4@1 Initial", "5@2 Initial", "6@3 Initial"]);

        map.apply(fresh(&map, 2, "store-2b")).unwrap();
        assert_eq!(map.version, 2);
        assert_eq!(roles(&map, 0), ["1@1 Initial", "2@2 Leaving", "3@3 Joining", "10@2 Joining"]);
        assert_eq!(roles(&map, 1), ["4@1 Initial", "5@2 Leaving", "6@3 Initial", "11@2 Joining"]);
        assert_eq!(map.replica_on(node_id(2), shard_id(1)), Some(ReplicaId(11)));
        assert_eq!(map.initial_replicas(shard_id(1)).len(), 2);
        assert_eq!(map.owner_nodes(shard_id(1)).len(), 3);

        // The disk is lost again before the fresh replica has joined.
        map.apply(fresh(&map, 2, "store-2c")).unwrap();
        assert_eq!(
            roles(&map, 1),
            ["4@1 Initial", "5@2 Leaving", "6@3 Initial", "11@2 Leaving", "14@2 Joining"]
        );

        map.apply(joined(1, 14, &[5, 11])).unwrap();
        assert_eq!(roles(&map, 1), ["4@1 Initial", "6@3 Initial", "14@2 Voter"]);
        assert_eq!(map.version, 4);
        let before = map.clone();
        map.apply(joined(1, 14, &[5, 11])).unwrap();
        assert_eq!(map, before);
        assert_eq!(map.check(), Ok(()));
    }

    #[test]
    fn no_disk_is_written_off_that_a_quorum_needs() {
        let mut map = genesis_of(3, 1, 3);
        // Node 1 alone holds the meta shard until the others have joined.
        let meta = MetaRefusal::QuorumAtRisk { node: node_id(1), shard: ShardId::META };
        assert_eq!(map.apply(fresh(&map, 1, "store-1b")), Err(meta));
        map.apply(joined(0, 2, &[])).unwrap();
        map.apply(joined(0, 3, &[])).unwrap();
        map.apply(fresh(&map, 1, "store-1b")).unwrap();
        let before = map.clone();
        let second = MetaRefusal::QuorumAtRisk { node: node_id(2), shard: ShardId::META };
        assert_eq!(map.apply(fresh(&map, 2, "store-2b")), Err(second));
        assert_eq!(map, before);
    }

    /// The sender looked whether the last start runs, and since then there is another one.
    #[test]
    fn who_has_seen_an_older_map_has_to_look_again() {
        let mut map = genesis_of(3, 2, 3);
        let late = register(
            &map,
            3,
            node("n3:7000", "store-3", "late"),
            &["start-3", "b"],
            Origin::Member,
        );
        let wiped = register(&map, 3, node("n3:7000", "fresh", "x"), &[], Origin::New);
        map.apply(register(&map, 3, node("n3:7000", "store-3", "b"), &["start-3"], Origin::Member))
            .unwrap();
        let before = map.clone();
        let outdated = Err(MetaRefusal::SeenOutdated(node_id(3)));
        assert_eq!((map.apply(late), map.apply(wiped)), (outdated.clone(), outdated));
        assert_eq!(map, before);
    }
}
