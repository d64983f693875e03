//! What changes the shard map: commands in the log of the meta shard.
//!
//! Every command is idempotent, because its sender may have to repeat it without knowing whether
//! it was applied. One that changes something makes the version grow by exactly one; one that is
//! refused, or repeats what was done, changes nothing at all.

use std::collections::BTreeMap;

use super::{MapFault, Node, Replica, ReplicaRole, ShardMap};
use crate::ids::{Epoch, NodeId, ReplicaId, ShardId};

/// A command for the meta shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaCommand {
    /// The first command of a cluster: its first map, as [`ShardMap::genesis`] makes it.
    Genesis(ShardMap),
    /// A node says where it serves and which store it runs on.
    ///
    /// One not known yet is added, without replicas. A new address replaces the old one. A new
    /// store means that the old disk is lost: the node's replicas become leaving, and each shard
    /// concerned gets a fresh joining one on the node.
    RegisterNode {
        /// The node.
        id: NodeId,
        /// What it says.
        node: Node,
        /// Whether its store has belonged to the cluster before. Such a one never takes a node's place:
        /// if it is not the node's any more, the cluster has written its votes and entries off.
        was_member: bool,
    },
    /// A joining replica has become a voter of its group, and those it replaced are gone from it.
    ReplicaJoined {
        /// The shard.
        shard: ShardId,
        /// The replica that is a voter now.
        replica: ReplicaId,
        /// Leaving replicas of the shard that the group has removed. Ids that the shard does not
        /// have are passed over: they are gone already.
        removed: Vec<ReplicaId>,
    },
}

/// Why a command was refused. A refused command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaRefusal {
    /// Genesis of a cluster that exists.
    #[error("the cluster is formed already")]
    AlreadyFormed,
    /// A command other than genesis, before genesis.
    #[error("there is no cluster yet")]
    NotFormed,
    /// Genesis with an unsound map.
    #[error("unsound first map")]
    GenesisUnsound(#[source] MapFault),
    /// Genesis with a map that is empty, or not the first of its cluster.
    #[error("first map has version {version} and epoch {epoch}, must have 1 and 1")]
    GenesisNotFirst {
        /// The map's version.
        version: u64,
        /// The map's epoch.
        epoch: Epoch,
    },
    /// A node without address or store.
    #[error("node {0} lacks an address or a store")]
    NodeIncomplete(NodeId),
    /// Another node has the address. A node that moved away from it has to register first.
    #[error("the address belongs to node {holder}")]
    AddressTaken {
        /// The other node.
        holder: NodeId,
    },
    /// Another node has the store: a data directory was copied, or given to the wrong node.
    #[error("the store belongs to node {holder}")]
    StoreTaken {
        /// The other node.
        holder: NodeId,
    },
    /// The store was in the cluster before, and was replaced by another one since.
    #[error("the data directory of node {0} was replaced by another one")]
    StoreReplaced(NodeId),
    /// The store of a node cannot be written off: a shard would lose its quorum.
    #[error(
        "the disk of node {node} cannot be written off: shard {shard} would lose its quorum; \
         bring the old data directory back"
    )]
    QuorumAtRisk {
        /// The node.
        node: NodeId,
        /// The first shard that would.
        shard: ShardId,
    },
    /// There is no such shard.
    #[error("no shard {0}")]
    ShardUnknown(ShardId),
    /// The shard has no such replica; it may have had it.
    #[error("shard {shard} has no replica {replica}")]
    ReplicaUnknown {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The replica that joined is leaving: its disk was lost meanwhile.
    #[error("replica {replica} of shard {shard} is leaving")]
    ReplicaLeaving {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
    /// A replica was reported removed that is not leaving.
    #[error("replica {replica} of shard {shard} is not leaving")]
    ReplicaNotLeaving {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
}

impl ShardMap {
    /// Applies a command of the meta shard's log. Pure: equal maps and equal commands give equal
    /// maps and equal answers.
    pub fn apply(&mut self, command: MetaCommand) -> Result<(), MetaRefusal> {
        match command {
            MetaCommand::Genesis(map) => self.form(map),
            _ if !self.is_formed() => Err(MetaRefusal::NotFormed),
            MetaCommand::RegisterNode { id, node, was_member } => {
                self.register(id, node, was_member)
            }
            MetaCommand::ReplicaJoined { shard, replica, removed } => {
                self.join(shard, replica, &removed)
            }
        }
    }

    fn form(&mut self, map: Self) -> Result<(), MetaRefusal> {
        if self.is_formed() {
            return Err(MetaRefusal::AlreadyFormed);
        }
        map.check().map_err(MetaRefusal::GenesisUnsound)?;
        let (version, epoch) = (map.version, map.epoch);
        // A restored cluster goes on after the epoch of its backup.
        if version != 1 || (epoch != Epoch(1) && map.restored.is_empty()) {
            return Err(MetaRefusal::GenesisNotFirst { version, epoch });
        }
        *self = map;
        Ok(())
    }

    fn register(&mut self, id: NodeId, node: Node, was_member: bool) -> Result<(), MetaRefusal> {
        if node.address.is_empty() || node.store_id.is_empty() {
            return Err(MetaRefusal::NodeIncomplete(id));
        }
        for (&holder, other) in self.nodes.iter().filter(|(other, _)| **other != id) {
            if other.address == node.address {
                return Err(MetaRefusal::AddressTaken { holder });
            }
            if other.store_id == node.store_id {
                return Err(MetaRefusal::StoreTaken { holder });
            }
        }
        let known = self.nodes.get(&id);
        if known == Some(&node) {
            return Ok(());
        }
        if known.is_some_and(|known| known.store_id != node.store_id) {
            if was_member {
                return Err(MetaRefusal::StoreReplaced(id));
            }
            self.check_survivors(id)?;
            self.replace_replicas_on(id);
        }
        self.nodes.insert(id, node);
        self.version += 1;
        Ok(())
    }

    /// A disk may be written off only where enough others are left: a majority of the voters of
    /// each of its shards, those counted that were written off and not replaced yet.
    fn check_survivors(&self, node: NodeId) -> Result<(), MetaRefusal> {
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

    /// Gives every live replica on a node whose disk is lost up for a fresh one.
    ///
    /// A joining replica is given up like a voter: its group may have made it a learner or voter
    /// already, of which the map knows nothing yet.
    fn replace_replicas_on(&mut self, node: NodeId) {
        let shards: Vec<ShardId> = self.shards.keys().copied().collect();
        for shard in shards {
            let Some(lost) = self.replica_on(node, shard) else { continue };
            let fresh = self.take_replica_id();
            let replicas = self.shards.entry(shard).or_default();
            replicas.insert(lost, Replica { node, role: ReplicaRole::Leaving });
            replicas.insert(fresh, Replica { node, role: ReplicaRole::Joining });
        }
    }

    fn join(
        &mut self,
        shard: ShardId,
        replica: ReplicaId,
        removed: &[ReplicaId],
    ) -> Result<(), MetaRefusal> {
        let replicas = self.shards.get_mut(&shard).ok_or(MetaRefusal::ShardUnknown(shard))?;
        let role = match replicas.get(&replica) {
            None => return Err(MetaRefusal::ReplicaUnknown { shard, replica }),
            Some(found) => found.role,
        };
        if role == ReplicaRole::Leaving {
            return Err(MetaRefusal::ReplicaLeaving { shard, replica });
        }
        let stays = |id: &&ReplicaId| replicas.get(*id).is_some_and(|found| !found.is_leaving());
        if let Some(&replica) = removed.iter().find(stays) {
            return Err(MetaRefusal::ReplicaNotLeaving { shard, replica });
        }

        let changed = promote(replicas, replica) | forget(replicas, removed);
        self.version += u64::from(changed);
        Ok(())
    }
}

/// Makes a joining replica a voter; says whether it was joining.
fn promote(replicas: &mut BTreeMap<ReplicaId, Replica>, id: ReplicaId) -> bool {
    match replicas.get_mut(&id) {
        Some(replica) if replica.role == ReplicaRole::Joining => {
            replica.role = ReplicaRole::Voter;
            true
        }
        Some(_) | None => false,
    }
}

/// Drops the replicas named; says whether any was there.
fn forget(replicas: &mut BTreeMap<ReplicaId, Replica>, ids: &[ReplicaId]) -> bool {
    let before = replicas.len();
    replicas.retain(|id, _| !ids.contains(id));
    replicas.len() != before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::genesis::tests::genesis_of;

    fn node_id(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn shard_id(id: u32) -> ShardId {
        ShardId::new(id).unwrap()
    }

    fn register(id: u64, address: &str, store_id: &str) -> MetaCommand {
        let node = Node { address: address.into(), store_id: store_id.into() };
        MetaCommand::RegisterNode { id: node_id(id), node, was_member: false }
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
    fn genesis_happens_once() {
        let first = genesis_of(3, 2, 3);
        let mut map = ShardMap::default();
        let early = map.apply(register(1, "n1:7000", "store-1"));
        assert_eq!(early, Err(MetaRefusal::NotFormed));
        map.apply(MetaCommand::Genesis(first.clone())).unwrap();
        assert_eq!(map, first);
        let again = map.apply(MetaCommand::Genesis(first.clone()));
        assert_eq!((again, &map), (Err(MetaRefusal::AlreadyFormed), &first));
    }

    #[test]
    fn genesis_takes_only_sound_first_maps() {
        let refused = |map: ShardMap| ShardMap::default().apply(MetaCommand::Genesis(map));
        let mut unsound = genesis_of(3, 2, 3);
        unsound.ring_shards.clear();
        assert_eq!(refused(unsound), Err(MetaRefusal::GenesisUnsound(MapFault::RingEmpty)));
        let mut second = genesis_of(3, 2, 3);
        second.version = 2;
        let not_first = MetaRefusal::GenesisNotFirst { version: 2, epoch: Epoch(1) };
        assert_eq!(refused(second), Err(not_first));
        assert!(refused(ShardMap::default()).is_err());
    }

    #[test]
    fn a_node_comes_and_moves() {
        let mut map = genesis_of(3, 2, 3);
        let shards = map.shards.clone();
        map.apply(register(4, "n4:7000", "store-4")).unwrap();
        assert_eq!((map.version, map.nodes.len()), (2, 4));
        map.apply(register(4, "n4:7000", "store-4")).unwrap();
        assert_eq!(map.version, 2);
        map.apply(register(4, "elsewhere:7000", "store-4")).unwrap();
        assert_eq!((map.version, &map.shards), (3, &shards));
        assert_eq!(map.nodes[&node_id(4)].address, "elsewhere:7000");
    }

    #[test]
    fn a_store_that_was_replaced_does_not_come_back() {
        let mut map = genesis_of(3, 2, 3);
        map.apply(register(3, "n3:7000", "fresh")).unwrap();
        let before = map.clone();
        let id = node_id(3);
        let old = Node { address: "n3:7000".into(), store_id: "store-3".into() };
        let command = MetaCommand::RegisterNode { id, node: old, was_member: true };
        assert_eq!(map.apply(command), Err(MetaRefusal::StoreReplaced(id)));
        assert_eq!(map, before);
        // The one that took its place may move all the same.
        let moved = Node { address: "elsewhere:7000".into(), store_id: "fresh".into() };
        map.apply(MetaCommand::RegisterNode { id, node: moved, was_member: true }).unwrap();
        assert_eq!(map.nodes[&id].address, "elsewhere:7000");
    }

    #[test]
    fn nodes_share_neither_address_nor_store() {
        let mut map = genesis_of(3, 2, 3);
        let before = map.clone();
        let holder = node_id(1);
        for (command, refusal) in [
            (register(2, "n1:7000", "store-2"), MetaRefusal::AddressTaken { holder }),
            (register(4, "n4:7000", "store-1"), MetaRefusal::StoreTaken { holder }),
            (register(4, "", "store-4"), MetaRefusal::NodeIncomplete(node_id(4))),
            (register(4, "n4:7000", ""), MetaRefusal::NodeIncomplete(node_id(4))),
        ] {
            assert_eq!(map.apply(command), Err(refusal));
        }
        assert_eq!(map, before);
    }

    #[test]
    fn a_lost_disk_means_fresh_replicas() {
        let mut map = genesis_of(3, 2, 3);
        assert_eq!(roles(&map, 0), ["1@1 Founder", "2@2 Joining", "3@3 Joining"]);
        assert_eq!(roles(&map, 1), ["4@1 Founder", "5@2 Founder", "6@3 Founder"]);

        map.apply(register(2, "n2:7000", "store-2b")).unwrap();
        assert_eq!(map.version, 2);
        assert_eq!(roles(&map, 0), ["1@1 Founder", "2@2 Leaving", "3@3 Joining", "10@2 Joining"]);
        assert_eq!(roles(&map, 1), ["4@1 Founder", "5@2 Leaving", "6@3 Founder", "11@2 Joining"]);
        assert_eq!(map.replica_on(node_id(2), shard_id(1)), Some(ReplicaId(11)));
        assert_eq!(map.founders(shard_id(1)).len(), 2);
        assert_eq!(map.owner_nodes(shard_id(1)).len(), 3);

        // The disk is lost again before the fresh replica has joined.
        map.apply(register(2, "n2:7000", "store-2c")).unwrap();
        assert_eq!(
            roles(&map, 1),
            ["4@1 Founder", "5@2 Leaving", "6@3 Founder", "11@2 Leaving", "14@2 Joining"]
        );

        map.apply(joined(1, 14, &[5, 11])).unwrap();
        assert_eq!(roles(&map, 1), ["4@1 Founder", "6@3 Founder", "14@2 Voter"]);
        assert_eq!(map.version, 4);
        let before = map.clone();
        map.apply(joined(1, 14, &[5, 11])).unwrap();
        assert_eq!(map, before);
        assert_eq!(map.check(), Ok(()));
    }

    #[test]
    fn leaving_replicas_may_go_one_by_one() {
        let mut map = genesis_of(3, 1, 3);
        map.apply(register(2, "n2:7000", "store-2b")).unwrap();
        map.apply(joined(1, 8, &[])).unwrap();
        assert_eq!(roles(&map, 1)[1..], ["5@2 Leaving", "6@3 Founder", "8@2 Voter"]);
        map.apply(joined(1, 8, &[5])).unwrap();
        assert_eq!(roles(&map, 1)[1..], ["6@3 Founder", "8@2 Voter"]);
        assert_eq!(map.version, 4);
    }

    #[test]
    fn no_disk_is_written_off_that_a_quorum_needs() {
        let mut map = genesis_of(3, 1, 3);
        // Node 1 alone holds the meta shard until the others have joined.
        let meta = MetaRefusal::QuorumAtRisk { node: node_id(1), shard: ShardId::META };
        assert_eq!(map.apply(register(1, "n1:7000", "store-1b")), Err(meta));
        map.apply(joined(0, 2, &[])).unwrap();
        map.apply(joined(0, 3, &[])).unwrap();
        map.apply(register(1, "n1:7000", "store-1b")).unwrap();
        let before = map.clone();
        let second = MetaRefusal::QuorumAtRisk { node: node_id(2), shard: ShardId::META };
        assert_eq!(map.apply(register(2, "n2:7000", "store-2b")), Err(second));
        assert_eq!(map, before);
    }

    #[test]
    fn reports_that_do_not_fit_are_refused() {
        let mut map = genesis_of(3, 1, 3);
        map.apply(register(2, "n2:7000", "store-2b")).unwrap();
        let before = map.clone();
        let (shard, replica) = (shard_id(1), ReplicaId);
        for (command, refusal) in [
            (joined(9, 8, &[]), MetaRefusal::ShardUnknown(shard_id(9))),
            (joined(1, 2, &[]), MetaRefusal::ReplicaUnknown { shard, replica: replica(2) }),
            (joined(1, 5, &[]), MetaRefusal::ReplicaLeaving { shard, replica: replica(5) }),
            (joined(1, 8, &[4]), MetaRefusal::ReplicaNotLeaving { shard, replica: replica(4) }),
            (joined(1, 8, &[8]), MetaRefusal::ReplicaNotLeaving { shard, replica: replica(8) }),
            (joined(1, 8, &[5, 6]), MetaRefusal::ReplicaNotLeaving { shard, replica: replica(6) }),
        ] {
            assert_eq!(map.apply(command), Err(refusal));
        }
        assert_eq!(map, before);
    }
}
