//! What a cluster consists of: its shards, their replicas, and who owns a campaign. Pure.

use std::collections::{BTreeMap, BTreeSet};

use coupon_admin::ClusterStatus;
use coupon_checker::Replica;
use coupon_cluster::{CampaignName, Epoch, ReplicaRole, Ring, ShardId, TenantId};

/// How many prefixes are tried until every shard owns a fair number of campaigns: each takes
/// microseconds, and one of a few is good enough.
const PREFIXES_MAX: u32 = 1_000;

/// What the replicas hold; `None` unless all of them say so, at the same index of their shard.
#[must_use]
pub fn digests(status: &ClusterStatus) -> Option<Vec<Replica>> {
    let mut replicas = Vec::new();
    for shard in &status.shards {
        let applied: BTreeSet<Option<u64>> =
            shard.replicas.iter().map(|replica| replica.applied_index).collect();
        if applied.len() != 1 {
            return None;
        }
        for replica in &shard.replicas {
            replicas.push(Replica {
                shard: shard.shard_id.into(),
                replica: replica.replica_id,
                applied_index: replica.applied_index?,
                digest: replica.digest.clone()?.into(),
            });
        }
    }
    Some(replicas)
}

/// What a cluster consists of.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The ids of the nodes, in order.
    pub nodes: Vec<u64>,
    /// By shard that owns campaigns: the nodes that vote in it.
    pub voters: BTreeMap<u32, BTreeSet<u64>>,
    ring: Ring,
}

/// A cluster without what a run needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No shard owns campaigns.
    #[error("the cluster has no shards")]
    NoShards,
    /// Some shard would get no load.
    #[error("{0} campaigns do not reach every shard: ask for more")]
    TooFewCampaigns(u32),
}

impl Topology {
    /// What a status says.
    ///
    /// # Errors
    /// When there is no shard that owns campaigns.
    pub fn of(status: &ClusterStatus) -> Result<Self, Unfit> {
        let mut nodes: Vec<u64> = status.nodes.iter().map(|node| node.node_id).collect();
        nodes.sort_unstable();
        let owners = status.shards.iter().filter(|shard| shard.shard_id != ShardId::META.get());
        let voters = owners.map(|shard| {
            let voters =
                shard.replicas.iter().filter(|replica| replica.role != ReplicaRole::Joining);
            (shard.shard_id, voters.map(|replica| replica.node_id).collect())
        });
        let voters: BTreeMap<u32, BTreeSet<u64>> = voters.collect();
        let shards = voters.keys().filter_map(|shard| ShardId::new(*shard).ok());
        let ring = Ring::new(Epoch(status.epoch), shards).ok_or(Unfit::NoShards)?;
        Ok(Self { nodes, voters, ring })
    }

    /// The shards that own campaigns, in order.
    #[must_use]
    pub fn shards(&self) -> Vec<u32> {
        self.voters.keys().copied().collect()
    }

    /// The shard that owns a campaign; `None` if the id is malformed.
    #[must_use]
    pub fn owner(&self, campaign_id: &str) -> Option<u32> {
        CampaignName::new(&TenantId::default(), campaign_id)
            .ok()
            .map(|id| self.ring.owner(&id).get())
    }

    /// A prefix that begins with `stem`, and with which `campaigns` campaigns reach every shard as
    /// evenly as can be had.
    ///
    /// # Errors
    /// When there are too few campaigns for that.
    pub fn prefix(&self, stem: &str, campaigns: u32) -> Result<String, Unfit> {
        let fair = usize::try_from(campaigns).unwrap_or(usize::MAX) / self.voters.len() / 2;
        let mut best: Option<(usize, String)> = None;
        for attempt in 0..PREFIXES_MAX {
            let prefix = format!("{stem}-{attempt}");
            let least = self.least(&prefix, campaigns);
            if best.as_ref().is_none_or(|(before, _)| least > *before) {
                best = Some((least, prefix));
            }
            if least >= fair.max(1) {
                break;
            }
        }
        let found = best.filter(|(least, _)| *least > 0);
        found.map(|(_, prefix)| prefix).ok_or(Unfit::TooFewCampaigns(campaigns))
    }

    /// How many campaigns the shard with the fewest owns.
    fn least(&self, prefix: &str, campaigns: u32) -> usize {
        let mut counts: BTreeMap<u32, usize> = self.voters.keys().map(|one| (*one, 0)).collect();
        for number in 1..=campaigns {
            if let Some(shard) = self.owner(&format!("{prefix}-{number}")) {
                *counts.entry(shard).or_default() += 1;
            }
        }
        counts.into_values().min().unwrap_or(0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use coupon_admin::{NodeState, NodeStatus, ReplicaStatus, ShardStatus};

    use super::*;

    /// Five nodes and a number of shards, each on three of the nodes.
    pub(crate) fn topology(shards: u32) -> Topology {
        Topology::of(&status(shards)).unwrap()
    }

    fn status(shards: u32) -> ClusterStatus {
        let node = |id| NodeStatus {
            node_id: id,
            address: format!("node-{id}:7000"),
            store_id: format!("store-{id}"),
            reachable: true,
            state: NodeState::Up,
            error: None,
            version: None,
            leads: 0,
            clock_offset_micros: Some(0),
            clock_trusted: Some(true),
            sync_micros: None,
            election_slowdown: None,
            waits_for: None,
        };
        let replica = |shard: u32, at: u32| ReplicaStatus {
            replica_id: u64::from(at) + 1,
            node_id: u64::from((shard + at) % 5) + 1,
            role: ReplicaRole::Voter,
            state: "follower".to_owned(),
            term: Some(1),
            last_log_index: Some(7),
            applied_index: Some(7),
            purged_index: None,
            votes_asked: None,
            streams_repeated: None,
            lag: Some(0),
            digest: Some("d".to_owned()),
            fault: None,
        };
        let shard = |shard| ShardStatus {
            shard_id: shard,
            leader_node_id: None,
            term: None,
            replicas: (0..3).map(|at| replica(shard, at)).collect(),
        };
        ClusterStatus {
            cluster_id: "c".to_owned(),
            map_version: 1,
            epoch: 1,
            nodes: (1..=5).map(node).collect(),
            shards: (0..=shards).map(shard).collect(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn the_shard_of_the_map_owns_nothing() {
        let topology = topology(8);
        assert_eq!(topology.shards(), (1..=8).collect::<Vec<_>>());
        assert_eq!(topology.nodes, [1, 2, 3, 4, 5]);
        assert_eq!(topology.voters[&2], BTreeSet::from([3, 4, 5]));
        assert_eq!(Topology::of(&status(0)).unwrap_err(), Unfit::NoShards);
    }

    #[test]
    fn campaigns_reach_every_shard() {
        let topology = topology(8);
        for stem in ["chaos-1", "chaos-2", "chaos-3"] {
            let prefix = topology.prefix(stem, 40).unwrap();
            let owners = (1..=40).filter_map(|one| topology.owner(&format!("{prefix}-{one}")));
            assert_eq!(owners.collect::<BTreeSet<u32>>().len(), 8, "{prefix}");
            assert_eq!(topology.prefix(stem, 40).unwrap(), prefix);
        }
        assert_eq!(topology.prefix("chaos", 7), Err(Unfit::TooFewCampaigns(7)));
        assert_eq!(topology.owner("no/id"), None);
    }

    #[test]
    fn digests_are_of_one_moment_or_none() {
        let mut status = status(2);
        assert_eq!(digests(&status).unwrap().len(), 9);
        status.shards[1].replicas[0].applied_index = Some(6);
        assert_eq!(digests(&status), None);
        status.shards[1].replicas[0].applied_index = Some(7);
        status.shards[1].replicas[0].digest = None;
        assert_eq!(digests(&status), None);
    }
}
