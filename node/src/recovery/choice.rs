//! Whether a choice can be carried out without harm to other shards.

use std::collections::BTreeSet;

use coupon_cluster::{NodeId, ShardId, ShardMap};

use super::RecoveryError;

/// Checks that giving up some nodes and keeping another one leaves every shard of a map with voters that can go
/// on. `stopped` are the shards that the kept node cannot go on with by itself: they have two histories, or its
/// store is lost.
///
/// # Errors
///
/// When a shard that the kept node has no replica of would lose its quorum, or when another node holds a
/// replica of a stopped shard and is neither kept nor given up.
pub fn check_choice(
    map: &ShardMap,
    kept: NodeId,
    given_up: &BTreeSet<NodeId>,
    stopped: &[ShardId],
) -> Result<(), RecoveryError> {
    let mut lost = Vec::new();
    for (&shard, replicas) in &map.shards {
        let voters: Vec<NodeId> = replicas
            .values()
            .filter(|replica| replica.is_voter())
            .map(|replica| replica.node)
            .collect();
        let left: Vec<NodeId> =
            voters.iter().copied().filter(|node| !given_up.contains(node)).collect();
        if !voters.contains(&kept) {
            if left.len() * 2 <= voters.len() {
                lost.push(shard);
            }
        } else if stopped.contains(&shard)
            && let Some(&node) = left.iter().find(|node| **node != kept)
        {
            return Err(RecoveryError::NotNamed { node, shard });
        }
    }
    if lost.is_empty() {
        Ok(())
    } else {
        Err(RecoveryError::QuorumGivenUp { node: kept, shards: lost })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use coupon_cluster::{Replica, ReplicaId, ReplicaRole};

    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn shard(id: u32) -> ShardId {
        ShardId::new(id).unwrap()
    }

    /// Shards with their voters' nodes.
    fn map(shards: &[&[u64]]) -> ShardMap {
        let mut map = ShardMap::default();
        for (id, nodes) in (1..).zip(shards) {
            let replica = |node_id: &u64| {
                let (node, role) = (node(*node_id), ReplicaRole::Initial);
                (ReplicaId(u64::from(id) * 10 + node_id), Replica { node, role })
            };
            let replicas: BTreeMap<_, _> = nodes.iter().map(replica).collect();
            map.shards.insert(shard(id), replicas);
        }
        map
    }

    #[test]
    fn no_shard_is_left_without_voters() {
        let map = map(&[&[1, 2, 3], &[1, 2, 4], &[3, 4, 5]]);
        let give_up = |nodes: &[u64], kept, stopped: &[ShardId]| {
            let nodes = nodes.iter().map(|id| node(*id)).collect();
            check_choice(&map, node(kept), &nodes, stopped)
        };
        assert!(give_up(&[1], 3, &[]).is_ok());
        let error = give_up(&[1, 2], 3, &[]).unwrap_err();
        assert!(
            matches!(&error, RecoveryError::QuorumGivenUp { shards, .. } if *shards == [shard(2)])
        );
        let error = give_up(&[1], 3, &[shard(1)]).unwrap_err();
        assert!(matches!(error, RecoveryError::NotNamed { node: left, .. } if left == node(2)));
    }
}
