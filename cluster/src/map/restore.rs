//! The first map of a cluster that is restored from a backup.

use std::collections::BTreeMap;

use super::{GenesisError, Node, ShardMap, StateDigest};
use crate::ids::{Epoch, NodeId, ShardId};

/// The settings of a restored cluster.
#[derive(Clone, Debug)]
pub struct RestoreSpec {
    /// The cluster's id, a UUID; not empty, and not that of the cluster in the backup.
    pub cluster_id: String,
    /// The nodes; the first one forms the cluster.
    pub nodes: Vec<(NodeId, Node)>,
    /// Replicas of each shard: 1, 3 or 5, each on its own node.
    pub replication_factor: u32,
    /// The state in the backup of every shard but the meta shard.
    pub states: BTreeMap<ShardId, StateDigest>,
}

impl ShardMap {
    /// The first map of a cluster that is restored from a backup, of which this is the map.
    ///
    /// It has the shards, the ring and the code keys of the old cluster, so every campaign is where its state
    /// is and every code stays valid. It has the next epoch, so nothing that was routed for the old cluster
    /// is accepted. Nodes, replicas and their places are new.
    ///
    /// # Errors
    ///
    /// When the backup has no cluster or lacks the state of a shard, or the nodes cannot form a cluster.
    pub fn restored(&self, spec: RestoreSpec) -> Result<Self, GenesisError> {
        if !self.is_initialized() {
            return Err(GenesisError::BackupEmpty);
        }
        let data = |shard: &ShardId| *shard != ShardId::META;
        let shards: Vec<ShardId> = self.shards.keys().copied().filter(data).collect();
        if let Some(missing) = shards.iter().find(|shard| !spec.states.contains_key(shard)) {
            return Err(GenesisError::StateMissing(*missing));
        }
        let (id, nodes) = (spec.cluster_id, spec.nodes);
        let map = Self {
            epoch: Epoch(self.epoch.0.saturating_add(1)),
            ring_shards: self.ring_shards.clone(),
            code_keys: self.code_keys.clone(),
            restored: spec.states,
            ..Self::first(id, nodes, &shards, spec.replication_factor)?
        };
        map.check()?;
        Ok(map)
    }

    /// Whether every shard of the map began with a state of its own from one backup.
    pub fn is_restored(&self) -> bool {
        let data = self.shards.keys().filter(|shard| **shard != ShardId::META);
        !self.restored.is_empty() && data.eq(self.restored.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::super::genesis::tests::genesis_of;
    use super::super::{MapFault, MetaCommand, MetaRefusal};
    use super::*;

    fn spec(nodes: u64, shards: u32) -> RestoreSpec {
        let node = |id: u64| {
            let node = Node {
                address: format!("m{id}:7000"),
                store_id: format!("new-{id}"),
                start_id: "start".into(),
            };
            (NodeId::new(id).unwrap(), node)
        };
        let state = |number| (ShardId::new(number).unwrap(), [9; 32]);
        RestoreSpec {
            cluster_id: "the-next-cluster".into(),
            nodes: (1..=nodes).map(node).collect(),
            replication_factor: 3,
            states: (1..=shards).map(state).collect(),
        }
    }

    #[test]
    fn it_has_the_shards_and_keys_of_the_old_one_and_the_next_epoch() {
        let mut old = genesis_of(3, 4, 3);
        old.epoch = Epoch(7);
        let map = old.restored(spec(5, 4)).unwrap();
        assert_eq!((map.version, map.epoch), (1, Epoch(8)));
        assert_eq!(map.cluster_id, "the-next-cluster");
        assert_eq!(map.ring_shards, old.ring_shards);
        assert_eq!(map.code_keys, old.code_keys);
        assert_eq!(map.shards.keys().collect::<Vec<_>>(), old.shards.keys().collect::<Vec<_>>());
        assert_eq!(map.nodes.len(), 5);
        assert!(map.is_restored() && !old.is_restored());
        assert_eq!(ShardMap::default().apply(MetaCommand::Genesis(map)), Ok(()));
    }

    #[test]
    fn a_later_epoch_alone_makes_no_restored_cluster() {
        let mut map = genesis_of(3, 4, 3);
        map.epoch = Epoch(2);
        let refused = MetaRefusal::GenesisNotFirst { version: 1, epoch: Epoch(2) };
        assert_eq!(ShardMap::default().apply(MetaCommand::Genesis(map)), Err(refused));
    }

    #[test]
    fn a_backup_that_is_not_whole_is_refused() {
        let old = genesis_of(3, 4, 3);
        let last = ShardId::new(4).unwrap();
        assert_eq!(old.restored(spec(3, 3)), Err(GenesisError::StateMissing(last)));
        let stray = MapFault::RestoredShard(ShardId::new(5).unwrap());
        assert_eq!(old.restored(spec(3, 5)), Err(GenesisError::Map(stray)));
        let none = ShardMap::default().restored(spec(3, 4));
        assert_eq!(none, Err(GenesisError::BackupEmpty));
        let few = GenesisError::TooFewNodes { factor: 3, nodes: 2 };
        assert_eq!(old.restored(spec(2, 4)), Err(few));
    }
}
