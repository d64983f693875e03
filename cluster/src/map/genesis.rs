//! The first map of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::{Node, Replica, ReplicaRole, ShardMap};
use crate::code::{CodeKey, SECRET_LEN};
use crate::ids::{Epoch, KeyId, NodeId, ReplicaId, ShardId};

/// What a new cluster is to be. It cannot be printed, for it holds a secret.
#[derive(Clone)]
pub struct GenesisSpec {
    /// The cluster's id, a UUID; not empty.
    pub cluster_id: String,
    /// The nodes, the one that forms the cluster first.
    pub nodes: Vec<(NodeId, Node)>,
    /// How many shards own campaigns: 1 to [`ShardId::MAX`].
    pub shard_count: u32,
    /// How many replicas a shard has: 1, 3 or 5, each on a node of its own. (An even number
    /// survives no more faults than the odd one below it.)
    pub replication_factor: u32,
    /// The secret of the cluster's first code key, random bytes.
    pub code_secret: [u8; SECRET_LEN],
}

/// Why no cluster can be formed as specified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The cluster id is empty.
    #[error("the cluster id is empty")]
    ClusterIdEmpty,
    /// Too few or too many shards.
    #[error("{0} shards: must be 1 to {max}", max = ShardId::MAX)]
    ShardCount(u32),
    /// The replication factor is not 1, 3 or 5.
    #[error("replication factor {0}: must be 1, 3 or 5")]
    ReplicationFactor(u32),
    /// There are fewer nodes than replicas of a shard.
    #[error("replication factor {factor} needs as many nodes, there are {nodes}")]
    TooFewNodes {
        /// The replication factor.
        factor: u32,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A node is named twice.
    #[error("node {0} is named twice")]
    NodeRepeated(NodeId),
    /// The nodes do not fit together.
    #[error(transparent)]
    Map(#[from] super::MapFault),
    /// The backup lacks the state of a shard.
    #[error("the state of shard {0} is missing")]
    StateMissing(ShardId),
    /// The backup has the map of no cluster.
    #[error("the shard map in the backup is that of no cluster")]
    BackupEmpty,
}

impl ShardMap {
    /// The first map of the cluster that `spec` describes.
    ///
    /// The meta shard begins as ONE initial replica on the first node, so that the cluster exists as soon
    /// as that node says so; its other replicas join. The data shards begin with all replicas.
    ///
    /// Shard *s* is on the nodes *s*, *s* + 1, … in the order given, round and round. Replicas and
    /// first replicas are spread evenly, and only as many different sets of nodes are used as
    /// there are nodes: the fewer sets, the fewer ways in which several lost disks take a quorum
    /// with them.
    pub fn genesis(spec: GenesisSpec) -> Result<Self, GenesisError> {
        if !(1..=ShardId::MAX).contains(&spec.shard_count) {
            return Err(GenesisError::ShardCount(spec.shard_count));
        }
        let shards: Vec<ShardId> = (1..=spec.shard_count)
            .map(|number| ShardId::new(number).expect("the number of shards was checked"))
            .collect();
        let (id, nodes) = (spec.cluster_id, spec.nodes);
        let mut map = Self::first(id, nodes, &shards, spec.replication_factor)?;
        let first = KeyId(1);
        map.code_keys.insert(first, CodeKey { id: first, secret: spec.code_secret });
        map.ring_shards.extend(shards);
        map.check()?;
        Ok(map)
    }

    /// A first map with the meta shard and `shards`, their replicas placed, without a ring or keys.
    pub(super) fn first(
        cluster_id: String,
        nodes: Vec<(NodeId, Node)>,
        shards: &[ShardId],
        replication_factor: u32,
    ) -> Result<Self, GenesisError> {
        if cluster_id.is_empty() {
            return Err(GenesisError::ClusterIdEmpty);
        }
        check_nodes(&nodes, replication_factor)?;
        let ring: Vec<NodeId> = nodes.iter().map(|&(id, _)| id).collect();
        let mut map = Self {
            cluster_id,
            version: 1,
            epoch: Epoch(1),
            nodes: nodes.into_iter().collect(),
            next_replica_id: ReplicaId(1),
            ..Self::default()
        };
        let places = std::iter::once((ShardId::META, 0)).chain(shards.iter().copied().zip(0..));
        for (shard, start) in places {
            let is_meta = shard == ShardId::META;
            let mut replicas = BTreeMap::new();
            for offset in 0..replication_factor as usize {
                let role =
                    if is_meta && offset > 0 { ReplicaRole::Joining } else { ReplicaRole::Initial };
                let node = ring[(start + offset) % ring.len()];
                replicas.insert(map.take_replica_id(), Replica { node, role });
            }
            map.shards.insert(shard, replicas);
        }
        Ok(map)
    }

    /// A replica id that was never given before.
    pub(super) fn take_replica_id(&mut self) -> ReplicaId {
        let id = self.next_replica_id;
        self.next_replica_id = ReplicaId(id.0 + 1);
        id
    }
}

fn check_nodes(nodes: &[(NodeId, Node)], factor: u32) -> Result<(), GenesisError> {
    let mut seen = BTreeSet::new();
    if let Some((id, _)) = nodes.iter().find(|(id, _)| !seen.insert(id)) {
        return Err(GenesisError::NodeRepeated(*id));
    }
    match factor {
        1 | 3 | 5 if factor as usize <= nodes.len() => Ok(()),
        1 | 3 | 5 => Err(GenesisError::TooFewNodes { factor, nodes: nodes.len() }),
        _ => Err(GenesisError::ReplicationFactor(factor)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The map of a cluster of nodes 1, 2, …
    pub(crate) fn genesis_of(nodes: u64, shard_count: u32, factor: u32) -> ShardMap {
        ShardMap::genesis(spec(nodes, shard_count, factor)).unwrap()
    }

    fn spec(nodes: u64, shard_count: u32, replication_factor: u32) -> GenesisSpec {
        let node = |id: u64| {
            let node = Node {
                address: format!("n{id}:7000"),
                store_id: format!("store-{id}"),
                start_id: format!("start-{id}"),
            };
            (NodeId::new(id).unwrap(), node)
        };
        GenesisSpec {
            cluster_id: "the-cluster".into(),
            nodes: (1..=nodes).map(node).collect(),
            shard_count,
            replication_factor,
            code_secret: [7; SECRET_LEN],
        }
    }

    #[test]
    fn the_meta_shard_begins_on_the_first_node() {
        let mut spec = spec(5, 4, 3);
        spec.nodes.swap(0, 3);
        let map = ShardMap::genesis(spec).unwrap();
        let meta: Vec<_> = map.shards[&ShardId::META].values().copied().collect();
        let replica = |id, role| Replica { node: NodeId::new(id).unwrap(), role };
        assert_eq!(
            meta,
            [
                replica(4, ReplicaRole::Initial),
                replica(2, ReplicaRole::Joining),
                replica(3, ReplicaRole::Joining),
            ]
        );
        assert_eq!(map.initial_replicas(ShardId::META).len(), 1);
    }

    #[test]
    fn a_new_map_is_numbered_from_one() {
        let map = genesis_of(3, 4, 3);
        assert_eq!((map.version, map.epoch), (1, Epoch(1)));
        assert_eq!(map.next_replica_id, ReplicaId(16));
        assert_eq!(map.ring_shards.len(), 4);
        assert_eq!(map.code_keys.keys().copied().collect::<Vec<_>>(), [KeyId(1)]);
        assert!(map.is_initialized());
        assert!(!ShardMap::default().is_initialized());
    }

    #[test]
    fn data_shards_are_spread_evenly() {
        for (nodes, shard_count, factor) in
            [(1, 8, 1), (3, 8, 3), (4, 16, 3), (5, 32, 3), (7, 1023, 5)]
        {
            let map = genesis_of(nodes, shard_count, factor);
            let mut hosted: BTreeMap<NodeId, u32> = BTreeMap::new();
            let mut first: BTreeMap<NodeId, u32> = BTreeMap::new();
            for &shard in &map.ring_shards {
                let initial = map.initial_replicas(shard);
                assert_eq!(initial.len(), factor as usize);
                assert_eq!(map.owner_nodes(shard).len(), factor as usize);
                *first.entry(*initial.values().next().unwrap()).or_default() += 1;
                for node in initial.into_values() {
                    *hosted.entry(node).or_default() += 1;
                }
            }
            let spread = |count: &BTreeMap<NodeId, u32>| {
                count.values().max().unwrap() - count.values().min().unwrap()
            };
            assert!(spread(&hosted) <= factor, "{hosted:?}");
            assert!(spread(&first) <= 1, "{first:?}");
        }
    }

    #[test]
    fn impossible_clusters_are_refused() {
        let refused = |change: fn(&mut GenesisSpec)| {
            let mut spec = spec(3, 4, 3);
            change(&mut spec);
            ShardMap::genesis(spec).unwrap_err()
        };
        let one = NodeId::new(1).unwrap();
        assert_eq!(refused(|spec| spec.shard_count = 0), GenesisError::ShardCount(0));
        assert_eq!(refused(|spec| spec.shard_count = 1024), GenesisError::ShardCount(1024));
        assert_eq!(refused(|s| s.replication_factor = 2), GenesisError::ReplicationFactor(2));
        assert_eq!(
            refused(|spec| spec.replication_factor = 5),
            GenesisError::TooFewNodes { factor: 5, nodes: 3 }
        );
        assert_eq!(
            refused(|spec| spec.nodes.clear()),
            GenesisError::TooFewNodes { factor: 3, nodes: 0 }
        );
        assert_eq!(refused(|spec| spec.cluster_id.clear()), GenesisError::ClusterIdEmpty);
        assert_eq!(refused(|s| s.nodes[1].0 = s.nodes[0].0), GenesisError::NodeRepeated(one));
        let shared = refused(|spec| spec.nodes[1].1.store_id = spec.nodes[0].1.store_id.clone());
        assert!(matches!(shared, GenesisError::Map(_)));
    }
}
