//! Removes a node from the cluster, for ever.

use super::{MetaRefusal, Replica, ReplicaRole, ShardMap};
use crate::ids::{NodeId, ReplicaId, ShardId};

impl ShardMap {
    /// Applies [`MetaCommand::RemoveNode`](super::MetaCommand::RemoveNode).
    pub(super) fn remove(&mut self, node: NodeId, only_unused: bool) -> Result<(), MetaRefusal> {
        if !self.nodes.contains_key(&node) || self.leaving_nodes.contains(&node) {
            return Ok(());
        }
        if only_unused {
            if let Some(shard) = self.shards_on(node, |_| true).next() {
                return Err(MetaRefusal::NodeInUse { node, shard });
            }
        } else {
            self.check_survivors(node)?;
        }
        // All or nothing: the successors are found before anything changes.
        let mut after = self.clone();
        after.leaving_nodes.insert(node);
        let live: Vec<ShardId> = self.shards_on(node, |replica| !replica.is_to_go()).collect();
        for shard in live {
            let refusal = MetaRefusal::NoSpareNode { node, shard };
            let spare = after.spare_node(shard).ok_or(refusal)?;
            after.retire(shard, node, spare);
        }
        after.drop_unused_nodes();
        after.version += 1;
        *self = after;
        Ok(())
    }

    /// Drops every leaving node that has no replica any more.
    pub(super) fn drop_unused_nodes(&mut self) {
        let leaving = self.leaving_nodes.iter().copied();
        let unused: Vec<NodeId> =
            leaving.filter(|node| self.shards_on(*node, |_| true).next().is_none()).collect();
        for node in unused {
            self.nodes.remove(&node);
            self.leaving_nodes.remove(&node);
        }
    }

    /// The shards with a replica on a node, whatever its role.
    fn shards_on(
        &self,
        node: NodeId,
        kind: impl Fn(&Replica) -> bool,
    ) -> impl Iterator<Item = ShardId> {
        let shards = self.shards.iter().filter(move |(_, replicas)| {
            replicas.values().any(|replica| replica.node == node && kind(replica))
        });
        shards.map(|(&shard, _)| shard)
    }

    /// The node for a new replica of a shard: the one with the fewest replicas among those that stay and have
    /// none of this shard; of equals, the one with the smallest id.
    fn spare_node(&self, shard: ShardId) -> Option<NodeId> {
        let taken = self.owner_nodes(shard);
        let free = |node: &NodeId| !taken.contains(node) && !self.leaving_nodes.contains(node);
        let free = self.nodes.keys().copied().filter(free);
        free.min_by_key(|node| {
            (self.shards_on(*node, |replica| !replica.is_to_go()).count(), *node)
        })
    }

    /// Marks the replica of a shard on `node` for removal, and places one on `successor`. A voter stays a
    /// voter until its successor has joined; any other replica is of no use any more.
    fn retire(&mut self, shard: ShardId, node: NodeId, successor: NodeId) {
        let Some(old) = self.replica_on(node, shard) else { return };
        let fresh: ReplicaId = self.take_replica_id();
        let replicas = self.shards.entry(shard).or_default();
        let is_voter = replicas.get(&old).is_some_and(Replica::is_voter);
        let role = if is_voter { ReplicaRole::Retiring } else { ReplicaRole::Leaving };
        replicas.insert(old, Replica { node, role });
        replicas.insert(fresh, Replica { node: successor, role: ReplicaRole::Joining });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::genesis::tests::genesis_of;
    use crate::map::{MetaCommand, Node, Origin};

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn remove(map: &mut ShardMap, id: u64, only_unused: bool) -> Result<(), MetaRefusal> {
        let answer = map.apply(MetaCommand::RemoveNode { id: node(id), only_unused });
        assert_eq!(map.check(), Ok(()));
        answer
    }

    fn add(map: &mut ShardMap, id: u64) {
        let node = Node {
            address: format!("n{id}:7000"),
            store_id: format!("store-{id}"),
            start_id: format!("start-{id}"),
        };
        let (starts, origin) = (Vec::new(), Origin::New);
        let seen_start = String::new();
        let id = NodeId::new(id).unwrap();
        map.apply(MetaCommand::RegisterNode { id, node, starts, origin, seen_start }).unwrap();
    }

    /// Reports every joining replica as joined, and every leaving or retiring one as removed.
    fn settle(map: &mut ShardMap) {
        for (shard, replicas) in map.shards.clone() {
            let removed: Vec<ReplicaId> =
                replicas.iter().filter(|(_, one)| one.is_to_go()).map(|(id, _)| *id).collect();
            for (&replica, one) in &replicas {
                if one.role == ReplicaRole::Joining {
                    let removed = removed.clone();
                    map.apply(MetaCommand::ReplicaJoined { shard, replica, removed }).unwrap();
                }
            }
        }
        assert_eq!(map.check(), Ok(()));
    }

    #[test]
    fn a_node_that_never_had_a_replica_is_gone_at_once() {
        let mut map = genesis_of(3, 2, 3);
        add(&mut map, 44);
        let version = map.version;
        remove(&mut map, 44, true).unwrap();
        assert!(!map.nodes.contains_key(&node(44)));
        assert_eq!(map.version, version + 1);
        remove(&mut map, 44, true).unwrap();
        assert_eq!(map.version, version + 1, "it was gone already");
        let in_use = MetaRefusal::NodeInUse { node: node(3), shard: ShardId::META };
        assert_eq!(remove(&mut map, 3, true), Err(in_use));
    }

    #[test]
    fn a_node_goes_when_others_have_its_replicas() {
        let mut map = genesis_of(3, 2, 3);
        settle(&mut map);
        let before = map.clone();
        let nowhere = MetaRefusal::NoSpareNode { node: node(3), shard: ShardId::META };
        assert_eq!(remove(&mut map, 3, false), Err(nowhere));
        assert_eq!(map, before);

        add(&mut map, 4);
        remove(&mut map, 3, false).unwrap();
        let shard = ShardId::new(1).unwrap();
        let old = map.replica_on(node(3), shard).expect("it serves until its successor has joined");
        assert_eq!(map.shards[&shard][&old].role, ReplicaRole::Retiring);
        assert!(map.preferred_leaders().values().all(|id| *id != old), "others are to lead");
        settle(&mut map);
        assert!(!map.nodes.contains_key(&node(3)) && map.leaving_nodes.is_empty());
        assert_eq!(map.owner_nodes(shard), [1, 2, 4].map(node).into());
    }

    #[test]
    fn no_node_goes_that_a_quorum_needs() {
        let mut map = genesis_of(3, 1, 3);
        settle(&mut map);
        add(&mut map, 4);
        let fresh =
            Node { address: "n2:7000".into(), store_id: "fresh".into(), start_id: "start".into() };
        let (id, starts, origin) = (node(2), Vec::new(), Origin::New);
        let seen_start = "start-2".to_owned();
        map.apply(MetaCommand::RegisterNode { id, node: fresh, starts, origin, seen_start })
            .unwrap();
        let at_risk = MetaRefusal::QuorumAtRisk { node: node(3), shard: ShardId::META };
        assert_eq!(remove(&mut map, 3, false), Err(at_risk));
    }

    #[test]
    fn a_disk_lost_on_the_way_out_is_not_replaced_there() {
        let mut map = genesis_of(3, 1, 3);
        settle(&mut map);
        add(&mut map, 4);
        remove(&mut map, 3, false).unwrap();
        let fresh =
            Node { address: "n3:7000".into(), store_id: "fresh".into(), start_id: "start".into() };
        let (id, starts, origin) = (node(3), Vec::new(), Origin::New);
        let seen_start = "start-3".to_owned();
        map.apply(MetaCommand::RegisterNode { id, node: fresh, starts, origin, seen_start })
            .unwrap();
        assert_eq!(map.replica_on(node(3), ShardId::META), None);
        settle(&mut map);
        assert!(!map.nodes.contains_key(&node(3)));
    }
}
