//! A survey as it is shown: every replica next to what the shard map says about it.

use std::collections::BTreeMap;

use coupon_proto::internal::{NodeInfo, ReplicaInfo, ReplicaRole};
use serde::Serialize;

use crate::survey::{NoAnswer, NodeAnswer, Survey};

/// A cluster as it is shown. The names of the fields are part of the interface.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) cluster_id: String,
    pub(crate) map_version: u64,
    pub(crate) epoch: u64,
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) shards: Vec<ShardReport>,
    /// What is wrong, for people.
    pub(crate) problems: Vec<String>,
}

/// A node.
#[derive(Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) node_id: u64,
    pub(crate) address: String,
    pub(crate) store_id: String,
    /// Whether the node itself answers.
    pub(crate) reachable: bool,
    /// In a word or two: up, clock off, unreachable, not joined, foreign or other store.
    pub(crate) state: &'static str,
    /// Why it does not answer, or the node that answers in its place.
    pub(crate) error: Option<String>,
    pub(crate) version: Option<String>,
    /// How many shards it leads.
    pub(crate) leads: usize,
    pub(crate) clock_offset_micros: Option<i64>,
    pub(crate) clock_trusted: Option<bool>,
    /// Why its replicas do not run, if they do not.
    pub(crate) waits_for: Option<String>,
}

/// A shard.
#[derive(Debug, Serialize)]
pub(crate) struct ShardReport {
    pub(crate) shard_id: u32,
    pub(crate) leader_node_id: Option<u64>,
    pub(crate) term: Option<u64>,
    pub(crate) replicas: Vec<ReplicaReport>,
}

/// A replica: what the map says, and what its node says if it answered.
#[derive(Debug, Serialize)]
pub(crate) struct ReplicaReport {
    pub(crate) replica_id: u64,
    pub(crate) node_id: u64,
    pub(crate) role: &'static str,
    /// What it is doing: unreachable, absent, or what its node calls it.
    pub(crate) state: String,
    pub(crate) term: Option<u64>,
    pub(crate) last_log_index: Option<u64>,
    pub(crate) applied_index: Option<u64>,
    pub(crate) purged_index: Option<u64>,
    /// The number of entries in the leader's log that it has not applied; unknown without a leader.
    pub(crate) lag: Option<u64>,
    /// The digest of its state at applied_index, if asked for.
    pub(crate) digest: Option<String>,
    /// Why it is stopped for good, if it is.
    pub(crate) fault: Option<String>,
    /// Digests of its state at the latest indexes that it applied, for comparison.
    #[serde(skip)]
    marks: BTreeMap<u64, Vec<u8>>,
}

impl Report {
    /// The report of a survey.
    pub(crate) fn of(survey: &Survey) -> Self {
        let shards: Vec<ShardReport> = survey
            .map
            .shards
            .iter()
            .map(|shard| shard_report(survey, shard.shard_id, &shard.replicas))
            .collect();
        let nodes: Vec<NodeReport> =
            survey.nodes.iter().map(|node| node_report(node, &shards)).collect();
        let problems = exchanged(survey).chain(problems(&nodes, &shards)).collect();
        let map = &survey.map;
        let cluster_id = map.cluster_id.clone();
        Self { cluster_id, map_version: map.version, epoch: map.epoch, nodes, shards, problems }
    }
}

fn shard_report(survey: &Survey, shard_id: u32, replicas: &[ReplicaInfo]) -> ShardReport {
    let leader = survey.leader(shard_id);
    let end = leader.map(|(_, status)| status.last_log_index);
    let nodes: BTreeMap<u64, &NodeAnswer> =
        survey.nodes.iter().map(|node| (node.info.node_id, node)).collect();
    let replicas = replicas.iter().map(|replica| {
        replica_report(replica, nodes.get(&replica.node_id).copied(), shard_id, end)
    });
    ShardReport {
        shard_id,
        leader_node_id: leader.map(|(node, _)| node),
        term: leader.map(|(_, status)| status.term),
        replicas: replicas.collect(),
    }
}

fn replica_report(
    replica: &ReplicaInfo,
    node: Option<&NodeAnswer>,
    shard_id: u32,
    end: Option<u64>,
) -> ReplicaReport {
    let status = node
        .and_then(|node| node.replica(shard_id))
        // During a replacement the map may name the next replica while the node runs the last one.
        .filter(|status| status.replica_id == replica.replica_id);
    // A stopped replica reports nothing else.
    let running = status.filter(|status| status.fault.is_empty());
    let missing = match node.map(|node| &node.answer) {
        Some(Ok(_)) => "absent",
        // Where another node answers, the replica cannot be reached either.
        Some(Err(_)) | None => "unreachable",
    };
    ReplicaReport {
        replica_id: replica.replica_id,
        node_id: replica.node_id,
        role: match replica.role() {
            ReplicaRole::Unspecified => "unspecified",
            ReplicaRole::Founder => "founder",
            ReplicaRole::Joining => "joining",
            ReplicaRole::Voter => "voter",
            ReplicaRole::Leaving => "leaving",
            ReplicaRole::Retiring => "retiring",
        },
        state: status.map_or(missing, |status| &status.state).to_owned(),
        term: running.map(|status| status.term),
        last_log_index: running.map(|status| status.last_log_index),
        applied_index: running.map(|status| status.applied_index),
        purged_index: running.map(|status| status.purged_index),
        lag: running.zip(end).map(|(status, end)| end.saturating_sub(status.applied_index)),
        digest: running.map(|status| status.digest.clone()).filter(|digest| !digest.is_empty()),
        fault: status.map(|status| status.fault.clone()).filter(|fault| !fault.is_empty()),
        marks: status
            .into_iter()
            .flat_map(|status| &status.marks)
            .map(|mark| (mark.index, mark.digest.clone()))
            .collect(),
    }
}

fn node_report(node: &NodeAnswer, shards: &[ShardReport]) -> NodeReport {
    let id = node.info.node_id;
    let answer = node.answer.as_ref().ok();
    NodeReport {
        node_id: id,
        address: node.info.address.clone(),
        store_id: node.info.store_id.clone(),
        reachable: answer.is_some(),
        state: match &node.answer {
            Ok(answer) if !answer.waits_for.is_empty() => "waiting",
            Ok(answer) if answer.clock_trusted => "up",
            Ok(_) => "clock off",
            Err(no_answer) => no_answer.state(),
        },
        error: node.answer.as_ref().err().map(ToString::to_string),
        version: answer.map(|answer| answer.version.clone()),
        leads: shards.iter().filter(|shard| shard.leader_node_id == Some(id)).count(),
        clock_offset_micros: answer.map(|answer| answer.clock_offset_micros),
        clock_trusted: answer.map(|answer| answer.clock_trusted),
        waits_for: answer.map(|answer| answer.waits_for.clone()).filter(|what| !what.is_empty()),
    }
}

/// Nodes at whose addresses other nodes answer.
fn exchanged(survey: &Survey) -> impl Iterator<Item = String> {
    survey.nodes.iter().filter_map(|node| {
        let NodeInfo { node_id, address, .. } = &node.info;
        match &node.answer {
            Err(other @ (NoAnswer::Foreign(_) | NoAnswer::Exchanged(_))) => {
                Some(format!("node {node_id} at {address}: {other}"))
            }
            Ok(_) | Err(NoAnswer::Unreachable(_) | NoAnswer::NotJoined) => None,
        }
    })
}

fn problems(nodes: &[NodeReport], shards: &[ShardReport]) -> Vec<String> {
    let mut problems = Vec::new();
    for node in nodes {
        if let Some(what) = &node.waits_for {
            problems.push(format!("node {} runs no replica: {what}", node.node_id));
        }
    }
    let stopped = |shard: &ShardReport| shard.replicas.iter().any(|one| one.fault.is_some());
    let leaderless: Vec<String> = shards
        .iter()
        .filter(|shard| shard.leader_node_id.is_none() && !stopped(shard))
        .map(|shard| shard.shard_id.to_string())
        .collect();
    if !leaderless.is_empty() {
        problems.push(format!("no leader of shard {}", leaderless.join(", ")));
    }
    for shard in shards {
        problems.extend(problems_of(shard));
    }
    problems
}

/// The problems of a shard other than a missing leader.
fn problems_of(shard: &ShardReport) -> Vec<String> {
    let id = shard.shard_id;
    let mut problems = Vec::new();
    // All replicas of a shard stop for the same reason.
    if let Some(fault) = shard.replicas.iter().find_map(|replica| replica.fault.as_ref()) {
        problems.push(format!("shard {id}: {fault}"));
    }
    for replica in &shard.replicas {
        if let (Some(applied), Some(last)) = (replica.applied_index, replica.last_log_index)
            && applied > last
            && replica.fault.is_none()
        {
            problems.push(format!(
                "the replica of shard {id} on node {} has applied index {applied}, and its log ends at \
                 {last}: it has lost entries",
                replica.node_id
            ));
        }
    }
    if let Some(index) = different_at(&shard.replicas) {
        problems.push(format!("the replicas of shard {id} differ at index {index}"));
    }
    problems
}

/// An index at which two replicas hold different states. Digests of whole states are compared if they were
/// asked for, or else the running digests at the highest common index.
fn different_at(replicas: &[ReplicaReport]) -> Option<u64> {
    let pairs = replicas
        .iter()
        .enumerate()
        .flat_map(|(place, one)| replicas.iter().skip(place + 1).map(move |other| (one, other)));
    pairs.into_iter().find_map(|(one, other)| {
        let whole = one.applied_index == other.applied_index
            && one.digest.is_some()
            && other.digest.is_some()
            && one.digest != other.digest;
        let common = one.marks.keys().rev().find(|index| other.marks.contains_key(index));
        let running = common.filter(|index| one.marks.get(index) != other.marks.get(index));
        if whole { one.applied_index } else { running.copied() }
    })
}

#[cfg(test)]
mod tests {
    use coupon_proto::internal::AppliedDigest;

    use super::*;
    use crate::survey::tests::survey;

    #[test]
    fn a_replica_lags_behind_the_end_of_the_leaders_log() {
        let report = Report::of(&survey(&[Some(("follower", 2)), None, Some(("leader", 2))]));
        let shard = &report.shards[0];
        assert_eq!((shard.leader_node_id, shard.term), (Some(3), Some(2)));
        assert_eq!(
            shard.replicas.iter().map(|replica| replica.lag).collect::<Vec<_>>(),
            [Some(21), None, Some(3)]
        );
        assert_eq!(shard.replicas[1].state, "unreachable");
        assert_eq!(report.nodes[1].error.as_deref(), Some("connection refused"));
        assert_eq!(report.nodes.iter().map(|node| node.leads).collect::<Vec<_>>(), [0, 0, 1]);
        assert!(report.problems.is_empty());
    }

    #[test]
    fn another_node_in_the_place_of_one_is_a_problem_and_not_up() {
        let mut survey = survey(&[Some(("leader", 2)), Some(("follower", 2)), None]);
        let foreign = coupon_transport::NodeIdentity {
            cluster_id: "d".to_owned(),
            node_id: coupon_cluster::NodeId::new(1).unwrap(),
            store_id: "s".to_owned(),
        };
        survey.nodes[2].answer = Err(NoAnswer::Foreign(foreign));
        let report = Report::of(&survey);
        assert_eq!((report.nodes[2].reachable, report.nodes[2].state), (false, "foreign"));
        let told = "node 3 at n3:1: foreign: node 1 of cluster d answers";
        assert_eq!(report.problems, [told]);
    }

    #[test]
    fn a_shard_without_leader_is_a_problem() {
        let report = Report::of(&survey(&[Some(("follower", 2)), None, None]));
        assert_eq!(report.problems, ["no leader of shard 1"]);
    }

    #[test]
    fn replicas_must_agree_where_they_applied_the_same() {
        let mut survey = survey(&[Some(("leader", 1)), Some(("follower", 1))]);
        let mut plant = |node: usize, index, digest: &str| {
            let replica = &mut survey.nodes[node].answer.as_mut().unwrap().replicas[0];
            (replica.applied_index, replica.digest) = (index, digest.to_owned());
            Report::of(&survey).problems
        };
        assert!(plant(0, 7, "aa").is_empty());
        assert!(plant(1, 6, "bb").is_empty());
        assert_eq!(plant(1, 7, "bb"), ["the replicas of shard 1 differ at index 7"]);
        assert!(plant(1, 7, "aa").is_empty());
    }

    #[test]
    fn running_digests_are_compared_at_the_highest_common_index() {
        let mut survey = survey(&[Some(("leader", 1)), Some(("follower", 1)), None]);
        let mut plant = |node: usize, marks: &[(u64, u8)]| {
            let replica = &mut survey.nodes[node].answer.as_mut().unwrap().replicas[0];
            let mark = |(index, digest): &(u64, u8)| AppliedDigest {
                index: *index,
                digest: vec![*digest],
            };
            replica.marks = marks.iter().map(mark).collect();
            Report::of(&survey).problems
        };
        assert!(plant(0, &[(5, 5), (6, 6), (7, 7)]).is_empty());
        assert!(plant(1, &[(3, 3), (4, 4)]).is_empty(), "nothing in common");
        assert!(plant(1, &[(4, 4), (5, 5), (6, 6)]).is_empty());
        assert_eq!(
            plant(1, &[(4, 4), (5, 5), (6, 9)]),
            ["the replicas of shard 1 differ at index 6"]
        );
    }

    #[test]
    fn a_replica_that_has_applied_more_than_its_log_holds_is_a_problem() {
        let mut survey = survey(&[Some(("leader", 1)), Some(("follower", 1))]);
        survey.nodes[1].answer.as_mut().unwrap().replicas[0].applied_index = 312;
        let problems = Report::of(&survey).problems;
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].contains("has applied index 312, and its log ends at 20"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_shard_with_two_histories_is_a_problem_of_its_own() {
        let mut survey = survey(&[Some(("diverged", 0)), Some(("diverged", 0)), None]);
        for node in &mut survey.nodes[..2] {
            let replica = &mut node.answer.as_mut().unwrap().replicas[0];
            replica.fault = "the shard has two histories".to_owned();
        }
        let report = Report::of(&survey);
        assert_eq!(report.problems, ["shard 1: the shard has two histories"]);
        assert!(report.shards[0].replicas.iter().all(|replica| replica.lag.is_none()));
    }
}
