//! What is true of every shard map.
//!
//! [`ShardMap::apply`] keeps these. They are checked where a map comes from outside: in a genesis
//! command, or decoded from a snapshot.

use std::collections::BTreeSet;

use super::ShardMap;
use crate::code::CODE_KEYS_MAX;
use crate::ids::{Epoch, KeyId, NodeId, ReplicaId, ShardId};

/// What is wrong with a shard map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapFault {
    /// There is no cluster id, but there is something else.
    #[error("map of no cluster is not empty")]
    UnformedNotEmpty,
    /// A formed map has version or epoch 0.
    #[error("map of a cluster has version {version} and epoch {epoch}")]
    NotNumbered {
        /// The map's version.
        version: u64,
        /// The map's epoch.
        epoch: Epoch,
    },
    /// A node has no address, no store or no start.
    #[error("node {0} lacks an address, a store or a start")]
    NodeIncomplete(NodeId),
    /// A leaving node is not in the map.
    #[error("node {0} is marked as leaving, but is not in the map")]
    LeavingNodeMissing(NodeId),
    /// Two nodes have one store.
    #[error("store {0:?} belongs to two nodes")]
    StoreShared(String),
    /// There is no meta shard.
    #[error("no meta shard")]
    NoMetaShard,
    /// No shard owns campaigns.
    #[error("no shard on the ring")]
    RingEmpty,
    /// The ring has the meta shard, or a shard that does not exist.
    #[error("shard {0} cannot be on the ring")]
    RingShard(ShardId),
    /// A shard that does not exist, or the meta shard, claims a restored state.
    #[error("shard {0} cannot have been restored")]
    RestoredShard(ShardId),
    /// A replica is on a node that the map does not have.
    #[error("replica {replica} is on node {node}, which is not there")]
    NodeMissing {
        /// The replica.
        replica: ReplicaId,
        /// Its node.
        node: NodeId,
    },
    /// An id names two replicas.
    #[error("replica {0} is there twice")]
    ReplicaRepeated(ReplicaId),
    /// A replica has the id of one that is yet to come.
    #[error("replica {replica} has an id not given yet: the next one is {next}")]
    ReplicaNotGiven {
        /// The replica.
        replica: ReplicaId,
        /// The map's next id.
        next: ReplicaId,
    },
    /// A node has two replicas of a shard that are not leaving.
    #[error("node {node} has two live replicas of shard {shard}")]
    ReplicasOnOneNode {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// There is no key for coupon codes.
    #[error("no key for codes")]
    NoCodeKey,
    /// There are more keys than codes have room for.
    #[error("{0} keys for codes, at most {CODE_KEYS_MAX} are possible")]
    TooManyCodeKeys(usize),
    /// A key is filed under another id than its own.
    #[error("code key {key} is filed as {filed}")]
    CodeKeyMisfiled {
        /// The id within the key.
        key: KeyId,
        /// The id it is filed under.
        filed: KeyId,
    },
}

impl ShardMap {
    /// Checks the invariants of a map and names the first that does not hold.
    pub fn check(&self) -> Result<(), MapFault> {
        if !self.is_initialized() {
            return if *self == Self::default() { Ok(()) } else { Err(MapFault::UnformedNotEmpty) };
        }
        if self.version == 0 || self.epoch == Epoch(0) {
            return Err(MapFault::NotNumbered { version: self.version, epoch: self.epoch });
        }
        self.check_nodes()?;
        self.check_shards()?;
        self.check_replicas()?;
        self.check_code_keys()
    }

    fn check_nodes(&self) -> Result<(), MapFault> {
        let mut stores = BTreeSet::new();
        for (&id, node) in &self.nodes {
            if !node.is_complete() {
                return Err(MapFault::NodeIncomplete(id));
            }
            if !stores.insert(&node.store_id) {
                return Err(MapFault::StoreShared(node.store_id.clone()));
            }
        }
        match self.leaving_nodes.iter().find(|node| !self.nodes.contains_key(node)) {
            Some(&missing) => Err(MapFault::LeavingNodeMissing(missing)),
            None => Ok(()),
        }
    }

    fn check_shards(&self) -> Result<(), MapFault> {
        if !self.shards.contains_key(&ShardId::META) {
            return Err(MapFault::NoMetaShard);
        }
        if self.ring_shards.is_empty() {
            return Err(MapFault::RingEmpty);
        }
        let stray = |shard: &&ShardId| **shard == ShardId::META || !self.shards.contains_key(shard);
        if let Some(&shard) = self.ring_shards.iter().find(stray) {
            return Err(MapFault::RingShard(shard));
        }
        match self.restored.keys().find(stray) {
            Some(&shard) => Err(MapFault::RestoredShard(shard)),
            None => Ok(()),
        }
    }

    fn check_replicas(&self) -> Result<(), MapFault> {
        let next = self.next_replica_id;
        let mut seen = BTreeSet::new();
        for (&shard, replicas) in &self.shards {
            let mut live_nodes = BTreeSet::new();
            for (&id, replica) in replicas {
                let node = replica.node;
                if !self.nodes.contains_key(&node) {
                    return Err(MapFault::NodeMissing { replica: id, node });
                }
                if id >= next {
                    return Err(MapFault::ReplicaNotGiven { replica: id, next });
                }
                if !seen.insert(id) {
                    return Err(MapFault::ReplicaRepeated(id));
                }
                if !replica.is_leaving() && !live_nodes.insert(node) {
                    return Err(MapFault::ReplicasOnOneNode { shard, node });
                }
            }
        }
        Ok(())
    }

    fn check_code_keys(&self) -> Result<(), MapFault> {
        if self.code_keys.is_empty() {
            return Err(MapFault::NoCodeKey);
        }
        if self.code_keys.len() > CODE_KEYS_MAX {
            return Err(MapFault::TooManyCodeKeys(self.code_keys.len()));
        }
        match self.code_keys.iter().find(|(filed, key)| **filed != key.id) {
            Some((&filed, key)) => Err(MapFault::CodeKeyMisfiled { key: key.id, filed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::CodeKey;
    use crate::map::genesis::tests::genesis_of;
    use crate::map::{Node, ReplicaRole};

    fn fault(break_it: impl FnOnce(&mut ShardMap)) -> MapFault {
        let mut map = genesis_of(3, 2, 3);
        assert_eq!(map.check(), Ok(()));
        break_it(&mut map);
        map.check().unwrap_err()
    }

    #[test]
    fn an_empty_map_is_sound() {
        assert_eq!(ShardMap::default().check(), Ok(()));
    }

    #[test]
    fn every_fault_is_found() {
        let node = |id| NodeId::new(id).unwrap();
        let shard = |id| ShardId::new(id).unwrap();
        let store = fault(|map| {
            let taken = map.nodes[&node(1)].store_id.clone();
            map.nodes.get_mut(&node(2)).unwrap().store_id = taken;
        });
        assert!(matches!(store, MapFault::StoreShared(_)));
        let incomplete = fault(|map| {
            let (store_id, start_id) = ("s".into(), "t".into());
            map.nodes.insert(node(9), Node { address: String::new(), store_id, start_id });
        });
        assert_eq!(incomplete, MapFault::NodeIncomplete(node(9)));
        let missing = fault(|map| {
            map.leaving_nodes.insert(node(9));
        });
        assert_eq!(missing, MapFault::LeavingNodeMissing(node(9)));

        assert_eq!(fault(|map| map.cluster_id.clear()), MapFault::UnformedNotEmpty);
        let unnumbered = MapFault::NotNumbered { version: 0, epoch: Epoch(1) };
        assert_eq!(fault(|map| map.version = 0), unnumbered);
        let no_meta = fault(|map| drop(map.shards.remove(&ShardId::META)));
        assert_eq!(no_meta, MapFault::NoMetaShard);
        assert_eq!(fault(|map| map.ring_shards.clear()), MapFault::RingEmpty);
        for stray in [ShardId::META, shard(77)] {
            let found = fault(|map| map.ring_shards.extend([stray]));
            assert_eq!(found, MapFault::RingShard(stray));
        }
        let restored = fault(|map| {
            map.restored.insert(shard(77), [0; 32]);
        });
        assert_eq!(restored, MapFault::RestoredShard(shard(77)));
        assert_eq!(fault(|map| map.code_keys.clear()), MapFault::NoCodeKey);
        let too_many = fault(|map| {
            let key = map.code_keys[&KeyId(1)].clone();
            let ids = (1..=5).map(KeyId);
            map.code_keys = ids.map(|id| (id, CodeKey { id, ..key.clone() })).collect();
        });
        assert_eq!(too_many, MapFault::TooManyCodeKeys(5));
        let misfiled = fault(|map| map.code_keys.get_mut(&KeyId(1)).unwrap().id = KeyId(2));
        assert_eq!(misfiled, MapFault::CodeKeyMisfiled { key: KeyId(2), filed: KeyId(1) });
    }

    #[test]
    fn every_fault_of_replicas_is_found() {
        let (one, two) = (ShardId::new(1).unwrap(), ShardId::new(2).unwrap());
        let node = NodeId::new(1).unwrap();
        let absent = NodeId::new(9).unwrap();
        let missing = fault(|map| {
            map.shards.get_mut(&one).unwrap().first_entry().unwrap().get_mut().node = absent;
        });
        assert!(matches!(missing, MapFault::NodeMissing { node, .. } if node == absent));
        let repeated = fault(|map| {
            let (id, replica) = map.shards[&one].first_key_value().map(|(i, r)| (*i, *r)).unwrap();
            map.shards.get_mut(&two).unwrap().insert(id, replica);
        });
        assert!(matches!(repeated, MapFault::ReplicaRepeated(_)));
        let not_given = fault(|map| map.next_replica_id = ReplicaId(5));
        let first = MapFault::ReplicaNotGiven { replica: ReplicaId(5), next: ReplicaId(5) };
        assert_eq!(not_given, first);
        let crowded = fault(|map| {
            for replica in map.shards.get_mut(&one).unwrap().values_mut() {
                assert_eq!(replica.role, ReplicaRole::Initial);
                replica.node = node;
            }
        });
        assert_eq!(crowded, MapFault::ReplicasOnOneNode { shard: one, node });
    }
}
