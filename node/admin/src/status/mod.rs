//! A survey as it is shown: every replica beside what the shard map says about it.
//!
//! The names of the fields are an interface: `coupon status -o json` writes them, and fields are only ever
//! added.

mod problems;

use std::collections::BTreeSet;

use coupon_cluster::{NodeId, Replica, ReplicaId, ReplicaRole, ShardId};
use serde::{Deserialize, Serialize};

use crate::survey::{NoAnswer, NodeAnswer, Survey};

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its id.
    pub cluster_id: String,
    /// The version of the shard map.
    pub map_version: u64,
    /// The epoch of the ring.
    pub epoch: u64,
    /// The nodes, by id.
    pub nodes: Vec<NodeStatus>,
    /// The shards, by id; shard 0 holds the map and owns no campaigns.
    pub shards: Vec<ShardStatus>,
    /// What is wrong, for people; empty: nothing.
    pub problems: Vec<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub node_id: u64,
    /// `host:port`, by the map.
    pub address: String,
    /// The id of its data directory, by the map.
    pub store_id: String,
    /// Whether the node itself answers.
    pub reachable: bool,
    /// Its state.
    pub state: NodeState,
    /// Why it does not answer, or the node that answers in its place.
    pub error: Option<String>,
    /// The version of its program.
    pub version: Option<String>,
    /// The number of shards that it leads.
    pub leads: usize,
    /// How far its clock is ahead of its peers', in microseconds.
    pub clock_offset_micros: Option<i64>,
    /// Whether its clock is trusted enough to lead.
    pub clock_trusted: Option<bool>,
    /// Why its replicas do not run, if they do not.
    pub waits_for: Option<String>,
}

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It runs its replicas.
    Up,
    /// It runs them, and leads none: its clock disagrees with its peers'.
    #[serde(rename = "clock off")]
    ClockOff,
    /// It does not run its replicas.
    Waiting,
    /// No node answers at its address.
    Unreachable,
    /// It is in no cluster yet.
    #[serde(rename = "not joined")]
    NotJoined,
    /// A node of another cluster answers at its address.
    Foreign,
    /// Another node of the cluster, or this one with another data directory, answers at its address.
    #[serde(rename = "other store")]
    OtherStore,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its id.
    pub shard_id: u32,
    /// The node that leads it.
    pub leader_node_id: Option<u64>,
    /// The term of the leader.
    pub term: Option<u64>,
    /// Its replicas, by id.
    pub replicas: Vec<ReplicaStatus>,
}

/// A replica: what the map says, and what its node says if it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Its id.
    pub replica_id: u64,
    /// The node it is on.
    pub node_id: u64,
    /// What the map means it to be.
    #[serde(with = "RoleName")]
    pub role: ReplicaRole,
    /// `unreachable`, `absent`, or what its node calls it: see `ReplicaStatus.state` in `cluster.proto`.
    pub state: String,
    /// The term it is in.
    pub term: Option<u64>,
    /// The last index in its log.
    pub last_log_index: Option<u64>,
    /// The last index it applied.
    pub applied_index: Option<u64>,
    /// The last index that its log no longer has.
    pub purged_index: Option<u64>,
    /// The number of entries in the leader's log that it has not applied; unknown without a leader.
    pub lag: Option<u64>,
    /// The digest of its state at `applied_index`, if asked for; hexadecimal.
    pub digest: Option<String>,
    /// Why it is stopped for good, if it is.
    pub fault: Option<String>,
}

/// The names of the roles.
#[derive(Serialize, Deserialize)]
#[serde(remote = "ReplicaRole", rename_all = "lowercase")]
enum RoleName {
    Initial,
    Joining,
    Voter,
    Leaving,
    Retiring,
}

impl ClusterStatus {
    /// The status of a cluster, by a survey of it.
    pub fn new(survey: &Survey) -> Self {
        let map = &survey.map;
        let shards: Vec<ShardStatus> =
            map.shards.keys().map(|shard| ShardStatus::new(survey, *shard)).collect();
        let nodes: Vec<NodeStatus> =
            survey.nodes.iter().map(|node| NodeStatus::new(node, &shards)).collect();
        let problems = problems::of(survey, &nodes, &shards);
        let cluster_id = map.cluster_id.clone();
        Self { cluster_id, map_version: map.version, epoch: map.epoch.0, nodes, shards, problems }
    }

    /// A shard; `None` if the map does not have it.
    pub fn shard(&self, shard_id: u32) -> Option<&ShardStatus> {
        self.shards.iter().find(|shard| shard.shard_id == shard_id)
    }

    /// Whether all nodes are up, all shards are led, and all replicas vote and lag behind their leader by at
    /// most `lag_max` entries.
    pub fn is_whole(&self, lag_max: u64) -> bool {
        let keeps_up = |replica: &ReplicaStatus| {
            matches!(replica.state.as_str(), "leader" | "follower")
                && replica.lag.is_some_and(|lag| lag <= lag_max)
        };
        self.nodes.iter().all(|node| node.state == NodeState::Up)
            && self
                .shards
                .iter()
                .all(|shard| shard.leader_node_id.is_some() && shard.replicas.iter().all(keeps_up))
    }

    /// Whether the replicas of each shard have applied the same entries and, by their digests, hold the same
    /// state. False where digests were not asked for.
    pub fn is_equal(&self) -> bool {
        self.shards.iter().all(|shard| {
            let states: BTreeSet<_> =
                shard.replicas.iter().map(|one| (one.applied_index, &one.digest)).collect();
            states.len() == 1 && shard.replicas.iter().all(|one| one.digest.is_some())
        })
    }
}

impl ShardStatus {
    /// The replicas on a node: several while one replaces another.
    pub fn on(&self, node_id: u64) -> impl Iterator<Item = &ReplicaStatus> {
        self.replicas.iter().filter(move |replica| replica.node_id == node_id)
    }

    fn new(survey: &Survey, shard: ShardId) -> Self {
        let leader = survey.leader(shard);
        let end = leader.map(|(_, status)| status.last_log_index);
        let replicas = survey.map.shards.get(&shard).into_iter().flatten();
        let replicas =
            replicas.map(|(id, replica)| ReplicaStatus::new(survey, shard, *id, replica, end));
        Self {
            shard_id: shard.get(),
            leader_node_id: leader.map(|(node, _)| node.get()),
            term: leader.map(|(_, status)| status.term),
            replicas: replicas.collect(),
        }
    }
}

impl ReplicaStatus {
    fn new(
        survey: &Survey,
        shard: ShardId,
        id: ReplicaId,
        replica: &Replica,
        end: Option<u64>,
    ) -> Self {
        let status = survey.replica(shard, id, replica.node);
        // A stopped replica reports nothing else.
        let running = status.filter(|status| status.fault.is_empty());
        Self {
            replica_id: id.get(),
            node_id: replica.node.get(),
            role: replica.role,
            state: status.map_or(missing(survey, replica.node), |status| &status.state).to_owned(),
            term: running.map(|status| status.term),
            last_log_index: running.map(|status| status.last_log_index),
            applied_index: running.map(|status| status.applied_index),
            purged_index: running.map(|status| status.purged_index),
            lag: running.zip(end).map(|(status, end)| end.saturating_sub(status.applied_index)),
            digest: running.map(|status| status.digest.clone()).filter(|digest| !digest.is_empty()),
            fault: status.map(|status| status.fault.clone()).filter(|fault| !fault.is_empty()),
        }
    }
}

/// The state of a replica that its node does not report.
fn missing(survey: &Survey, node: NodeId) -> &'static str {
    match survey.node(node).map(|node| &node.answer) {
        Some(Ok(_)) => "absent",
        // Where another node answers, the replica cannot be reached either.
        Some(Err(_)) | None => "unreachable",
    }
}

impl NodeStatus {
    fn new(node: &NodeAnswer, shards: &[ShardStatus]) -> Self {
        let id = node.id.get();
        let answer = node.answer.as_ref().ok();
        Self {
            node_id: id,
            address: node.node.address.clone(),
            store_id: node.node.store_id.clone(),
            reachable: answer.is_some(),
            state: NodeState::new(node),
            error: node.answer.as_ref().err().map(ToString::to_string),
            version: answer.map(|answer| answer.version.clone()),
            leads: shards.iter().filter(|shard| shard.leader_node_id == Some(id)).count(),
            clock_offset_micros: answer.map(|answer| answer.clock_offset_micros),
            clock_trusted: answer.map(|answer| answer.clock_trusted),
            waits_for: answer
                .map(|answer| answer.waits_for.clone())
                .filter(|what| !what.is_empty()),
        }
    }
}

impl NodeState {
    fn new(node: &NodeAnswer) -> Self {
        match &node.answer {
            Ok(answer) if !answer.waits_for.is_empty() => Self::Waiting,
            Ok(answer) if answer.clock_trusted => Self::Up,
            Ok(_) => Self::ClockOff,
            Err(NoAnswer::Unreachable(_)) => Self::Unreachable,
            Err(NoAnswer::NotJoined) => Self::NotJoined,
            Err(NoAnswer::Foreign(_)) => Self::Foreign,
            Err(NoAnswer::Exchanged(_)) => Self::OtherStore,
        }
    }

    /// The state in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::ClockOff => "clock off",
            Self::Waiting => "waiting",
            Self::Unreachable => "unreachable",
            Self::NotJoined => "not joined",
            Self::Foreign => "foreign",
            Self::OtherStore => "other store",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::tests::survey;

    #[test]
    fn a_replica_lags_behind_the_end_of_the_leaders_log() {
        let status =
            ClusterStatus::new(&survey(&[Some(("follower", 2)), None, Some(("leader", 2))]));
        let shard = &status.shards[0];
        assert_eq!((shard.leader_node_id, shard.term), (Some(3), Some(2)));
        assert_eq!(
            shard.replicas.iter().map(|replica| replica.lag).collect::<Vec<_>>(),
            [Some(21), None, Some(3)]
        );
        assert_eq!(shard.replicas[1].state, "unreachable");
        assert_eq!(status.nodes[1].error.as_deref(), Some("connection refused"));
        assert_eq!(status.nodes.iter().map(|node| node.leads).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(status.problems, ["node 2 at n2:1 does not answer: connection refused"]);
    }

    #[test]
    fn a_cluster_is_whole_when_all_are_up_and_keep_up() {
        let (leader, follower) = (Some(("leader", 1)), Some(("follower", 1)));
        let whole = |states: &[_], lag_max| ClusterStatus::new(&survey(states)).is_whole(lag_max);
        assert!(whole(&[follower, leader], 11));
        assert!(!whole(&[follower, leader], 10), "node 1 has applied 9 entries of 20");
        assert!(!whole(&[follower, leader, None], 11));
        assert!(!whole(&[follower, follower], 11));
        assert!(!whole(&[Some(("learner", 1)), leader], 11));
    }

    #[test]
    fn replicas_are_equal_at_one_index_with_one_digest() {
        let mut survey = survey(&[Some(("leader", 1)), Some(("follower", 1))]);
        let mut report = |node: usize, index, digest: &str| {
            let replica = &mut survey.nodes[node].answer.as_mut().unwrap().replicas[0];
            (replica.applied_index, replica.digest) = (index, digest.to_owned());
            ClusterStatus::new(&survey).is_equal()
        };
        assert!(!report(0, 7, ""));
        assert!(!report(1, 7, ""), "digests were not asked for");
        assert!(!report(0, 7, "aa"));
        assert!(report(1, 7, "aa"));
        assert!(!report(1, 7, "bb"));
        assert!(!report(1, 6, "aa"));
    }

    #[test]
    fn what_is_written_is_read() {
        let status = ClusterStatus::new(&survey(&[Some(("leader", 2)), None]));
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["nodes"][0]["state"], "up");
        assert_eq!(json["shards"][0]["replicas"][0]["role"], ReplicaRole::Initial.as_str());
        assert_eq!(serde_json::from_value::<ClusterStatus>(json).unwrap(), status);
        for state in [
            NodeState::Up,
            NodeState::ClockOff,
            NodeState::Waiting,
            NodeState::Unreachable,
            NodeState::NotJoined,
            NodeState::Foreign,
            NodeState::OtherStore,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
