//! What changes the shard map: commands in the log of the meta shard.
//!
//! Every command is idempotent, because its sender may have to repeat it without knowing whether
//! it was applied. One that changes something makes the version grow by exactly one; one that is
//! refused, or repeats what was done, changes nothing at all.

use std::collections::BTreeMap;

use super::{MapFault, Node, Origin, Replica, ReplicaRole, ShardMap};
use crate::code::{CODE_KEYS_MAX, CodeKey};
use crate::ids::{Epoch, KeyId, NodeId, ReplicaId, ShardId};

/// A command for the meta shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaCommand {
    /// The first command of a cluster: its first map, as [`ShardMap::genesis`] makes it.
    Genesis(ShardMap),
    /// A node reports where it serves, which store it runs on, and which start of the store this
    /// is.
    ///
    /// One not known yet is added, without replicas. A new address replaces the old one. A new
    /// store means that the old disk is lost: the node's replicas become leaving, and each shard
    /// concerned gets a fresh joining one on the node.
    RegisterNode {
        /// The node.
        id: NodeId,
        /// What it says.
        node: Node,
        /// Earlier starts that the store remembers. They must include the last start that the cluster
        /// accepted, unless that is this one.
        starts: Vec<String>,
        /// Where its store comes from.
        origin: Origin,
        /// The last start of the node in the map of the sender, who has checked that it no longer runs; empty
        /// where that map has no such node.
        seen_start: String,
    },
    /// A node leaves the cluster for ever.
    ///
    /// Each of its replicas retires, and gets a successor on a node without a replica of the shard.
    /// The node is dropped from the map with its last replica.
    RemoveNode {
        /// The node. Removing a node that is not in the map changes nothing.
        id: NodeId,
        /// Whether to refuse if the node has any replica, even one that is being removed.
        only_unused: bool,
    },
    /// An operator has chosen the history that the meta shard goes on with: its maps get versions beyond
    /// those of every map that a history which was given up may have had.
    Recover {
        /// The version of the next map, if it is not beyond that already.
        version: u64,
    },
    /// New campaigns use another key for their codes. It has the id after the newest one; older keys stay.
    AddCodeKey(CodeKey),
    /// A joining replica has become a voter of its group, and those it replaced are gone from it.
    ReplicaJoined {
        /// The shard.
        shard: ShardId,
        /// The replica that is a voter now.
        replica: ReplicaId,
        /// Leaving and retiring replicas that the group has removed. Ids that the shard does not
        /// have are ignored: their removal was reported before.
        removed: Vec<ReplicaId>,
    },
}

/// Why a command was refused. A refused command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaRefusal {
    /// Genesis of a cluster that exists.
    #[error("the cluster exists already")]
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
    /// A node without address, store or start.
    #[error("node {0} lacks an address, a store or a start")]
    NodeIncomplete(NodeId),
    /// Another node has the store: a data directory was copied, or given to the wrong node.
    #[error("the store belongs to node {holder}")]
    StoreTaken {
        /// The other node.
        holder: NodeId,
    },
    /// The store was in the cluster before, and was replaced by another one since.
    #[error("the data directory of node {0} was replaced by another one")]
    StoreReplaced(NodeId),
    /// The store does not remember its last registered start: the data directory is a copy, or an
    /// older state of it.
    #[error(
        "the data directory of node {0} does not remember its last start: it is a copy, or an older \
         state; start the node on its current directory"
    )]
    StartUnknown(NodeId),
    /// The node has started, or was replaced, since the sender looked whether its last start runs.
    #[error("node {0} has started since: ask again")]
    SeenOutdated(NodeId),
    /// The node was in the cluster before and was removed.
    #[error("node {0} was removed from the cluster")]
    NodeRemoved(NodeId),
    /// The store of a node cannot be written off: a shard would lose its quorum.
    #[error(
        "node {node} cannot be done without: shard {shard} would lose its quorum; bring the others, or \
         the old data directory, back first"
    )]
    QuorumAtRisk {
        /// The node.
        node: NodeId,
        /// The first shard that would.
        shard: ShardId,
    },
    /// The node has replicas.
    #[error("node {node} has a replica of shard {shard}: remove the node instead of forgetting it")]
    NodeInUse {
        /// The node.
        node: NodeId,
        /// The first shard of which it has a replica.
        shard: ShardId,
    },
    /// Every other node already has a replica of one of its shards.
    #[error(
        "every other node already has a replica of shard {shard}: add a node before you remove node {node}"
    )]
    NoSpareNode {
        /// The node to remove.
        node: NodeId,
        /// The first shard that has a replica on every other node.
        shard: ShardId,
    },
    /// There is another key with this id.
    #[error("there is a code key {0} already: somebody else has added one")]
    CodeKeyTaken(KeyId),
    /// The key has not the id that comes next.
    #[error("code key {key} cannot be added: the next one is {next}")]
    CodeKeyNotNext {
        /// The key.
        key: KeyId,
        /// The id that the next key gets.
        next: KeyId,
    },
    /// There are as many keys as there can be.
    #[error(
        "the cluster has {CODE_KEYS_MAX} code keys, and codes have room for no more: create a new cluster"
    )]
    TooManyCodeKeys,
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
    /// A replica was reported as removed that is neither leaving nor retiring.
    #[error("replica {replica} of shard {shard} is not to be removed")]
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
            _ if !self.is_initialized() => Err(MetaRefusal::NotFormed),
            MetaCommand::RegisterNode { id, node, starts, origin, seen_start } => {
                self.register(id, node, &starts, &origin, &seen_start)
            }
            MetaCommand::RemoveNode { id, only_unused } => self.remove(id, only_unused),
            MetaCommand::AddCodeKey(key) => self.add_code_key(key),
            MetaCommand::Recover { version } => {
                self.version = self.version.max(version);
                Ok(())
            }
            MetaCommand::ReplicaJoined { shard, replica, removed } => {
                self.join(shard, replica, &removed)
            }
        }
    }

    fn form(&mut self, map: Self) -> Result<(), MetaRefusal> {
        if self.is_initialized() {
            return Err(MetaRefusal::AlreadyFormed);
        }
        map.check().map_err(MetaRefusal::GenesisUnsound)?;
        let (version, epoch) = (map.version, map.epoch);
        // A restored cluster continues after the epoch of its backup.
        if version != 1 || (epoch != Epoch(1) && map.restored.is_empty()) {
            return Err(MetaRefusal::GenesisNotFirst { version, epoch });
        }
        *self = map;
        Ok(())
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
        // One that has just joined is still there, and repeating the report must not fail.
        if removed.contains(&replica) {
            return Err(MetaRefusal::ReplicaNotLeaving { shard, replica });
        }
        let stays = |id: &&ReplicaId| replicas.get(*id).is_some_and(|found| !found.is_to_go());
        if let Some(&replica) = removed.iter().find(stays) {
            return Err(MetaRefusal::ReplicaNotLeaving { shard, replica });
        }

        let changed = promote(replicas, replica) | forget(replicas, removed);
        self.drop_unused_nodes();
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
        let start_id = "start".to_owned();
        let node = Node { address: address.into(), store_id: store_id.into(), start_id };
        let (starts, origin, seen_start) = (Vec::new(), Origin::New, format!("start-{id}"));
        MetaCommand::RegisterNode { id: node_id(id), node, starts, origin, seen_start }
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
    fn leaving_replicas_may_go_one_by_one() {
        let mut map = genesis_of(3, 1, 3);
        map.apply(register(2, "n2:7000", "store-2b")).unwrap();
        map.apply(joined(1, 8, &[])).unwrap();
        assert_eq!(roles(&map, 1)[1..], ["5@2 Leaving", "6@3 Initial", "8@2 Voter"]);
        map.apply(joined(1, 8, &[5])).unwrap();
        assert_eq!(roles(&map, 1)[1..], ["6@3 Initial", "8@2 Voter"]);
        assert_eq!(map.version, 4);
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
