//! What is wrong with a cluster, for people.

use std::collections::BTreeMap;

use coupon_cluster::ShardId;

use super::{NodeStatus, ShardStatus};
use crate::survey::{NoAnswer, Survey};

/// The problems of a cluster, the most telling first.
pub(super) fn of(survey: &Survey, nodes: &[NodeStatus], shards: &[ShardStatus]) -> Vec<String> {
    let mut problems: Vec<String> = exchanged(survey).collect();
    for node in nodes {
        if let Some(what) = &node.waits_for {
            problems.push(format!("node {} runs no replica: {what}", node.node_id));
        }
    }
    problems.extend(silent(survey));
    let stopped = |shard: &ShardStatus| shard.replicas.iter().any(|one| one.fault.is_some());
    let leaderless: Vec<String> = shards
        .iter()
        .filter(|shard| shard.leader_node_id.is_none() && !stopped(shard))
        .map(|shard| shard.shard_id.to_string())
        .collect();
    if !leaderless.is_empty() {
        problems.push(format!("no leader of shard {}", leaderless.join(", ")));
    }
    for (id, shard) in survey.map.shards.keys().zip(shards) {
        problems.extend(of_shard(survey, *id, shard));
    }
    problems
}

/// Nodes at whose addresses other nodes answer.
fn exchanged(survey: &Survey) -> impl Iterator<Item = String> {
    survey.nodes.iter().filter_map(|node| match &node.answer {
        Err(other @ (NoAnswer::Foreign(_) | NoAnswer::Exchanged(_))) => {
            Some(format!("node {} at {}: {other}", node.id, node.node.address))
        }
        Ok(_) | Err(NoAnswer::Unreachable(_) | NoAnswer::NotJoined) => None,
    })
}

/// Nodes that do not answer.
fn silent(survey: &Survey) -> impl Iterator<Item = String> {
    survey.nodes.iter().filter_map(|node| match &node.answer {
        Err(why @ (NoAnswer::Unreachable(_) | NoAnswer::NotJoined)) => {
            Some(format!("node {} at {} does not answer: {why}", node.id, node.node.address))
        }
        Ok(_) | Err(NoAnswer::Foreign(_) | NoAnswer::Exchanged(_)) => None,
    })
}

/// The problems of a shard other than a missing leader.
fn of_shard(survey: &Survey, id: ShardId, shard: &ShardStatus) -> Vec<String> {
    let mut problems = Vec::new();
    // All replicas of a shard stop for the same reason.
    if let Some(fault) = shard.replicas.iter().find_map(|replica| replica.fault.as_ref()) {
        problems.push(format!("shard {id}: {fault}"));
    }
    for replica in &shard.replicas {
        if let (Some(applied), Some(last)) = (replica.applied_index, replica.last_log_index)
            && applied > last
        {
            problems.push(format!(
                "the replica of shard {id} on node {} has applied index {applied}, and its log ends at \
                 {last}: it has lost entries",
                replica.node_id
            ));
        }
    }
    if let Some(index) = different_at(survey, id) {
        problems.push(format!("the replicas of shard {id} differ at index {index}"));
    }
    problems
}

/// What a replica says about its state.
struct Digests<'a> {
    applied_index: u64,
    /// Of the whole state at `applied_index`; empty: not asked for.
    whole: &'a str,
    /// By index: of the state at the latest indexes that it applied.
    running: BTreeMap<u64, &'a [u8]>,
}

/// An index at which two replicas hold different states. Digests of whole states are compared if they were
/// asked for, or else the running digests at the highest common index.
fn different_at(survey: &Survey, shard: ShardId) -> Option<u64> {
    let replicas = survey.map.shards.get(&shard)?;
    let answers = replicas.iter().filter_map(|(id, one)| survey.replica(shard, *id, one.node));
    let digests: Vec<Digests<'_>> = answers
        .map(|status| Digests {
            applied_index: status.applied_index,
            whole: &status.digest,
            running: status.marks.iter().map(|mark| (mark.index, &*mark.digest)).collect(),
        })
        .collect();
    let pairs = digests
        .iter()
        .enumerate()
        .flat_map(|(place, one)| digests.iter().skip(place + 1).map(move |other| (one, other)));
    pairs.into_iter().find_map(|(one, other)| {
        let whole = one.applied_index == other.applied_index
            && !one.whole.is_empty()
            && !other.whole.is_empty()
            && one.whole != other.whole;
        let common = one.running.keys().rev().find(|index| other.running.contains_key(index));
        let running = common.filter(|index| one.running.get(index) != other.running.get(index));
        if whole { Some(one.applied_index) } else { running.copied() }
    })
}

#[cfg(test)]
mod tests {
    use coupon_cluster::{NodeId, NodeIdentity};
    use coupon_proto::internal::AppliedDigest;

    use super::super::{ClusterStatus, NodeState};
    use super::*;
    use crate::survey::tests::survey;

    /// The problems of a cluster, those of nodes that do not answer left out.
    fn problems(survey: &Survey) -> Vec<String> {
        let mut problems = ClusterStatus::new(survey).problems;
        problems.retain(|problem| !problem.contains(" does not answer: "));
        problems
    }

    #[test]
    fn a_node_that_does_not_answer_is_a_problem_although_every_shard_is_led() {
        let survey = survey(&[Some(("leader", 2)), Some(("follower", 2)), None]);
        let told = "node 3 at n3:1 does not answer: connection refused";
        assert_eq!(ClusterStatus::new(&survey).problems, [told]);
    }

    #[test]
    fn another_node_in_the_place_of_one_is_a_problem_and_not_up() {
        let mut survey = survey(&[Some(("leader", 2)), Some(("follower", 2)), None]);
        let foreign = NodeIdentity {
            cluster_id: "d".to_owned(),
            node_id: NodeId::new(1).unwrap(),
            store_id: "s".to_owned(),
        };
        survey.nodes[2].answer = Err(NoAnswer::Foreign(foreign));
        let status = ClusterStatus::new(&survey);
        let node = &status.nodes[2];
        assert_eq!((node.reachable, node.state), (false, NodeState::Foreign));
        let told = "node 3 at n3:1: foreign: node 1 of cluster d answers";
        assert_eq!(status.problems, [told]);
    }

    #[test]
    fn a_shard_without_leader_is_a_problem() {
        let survey = survey(&[Some(("follower", 2)), None, None]);
        assert_eq!(problems(&survey), ["no leader of shard 1"]);
    }

    #[test]
    fn replicas_must_agree_where_they_applied_the_same() {
        let mut survey = survey(&[Some(("leader", 1)), Some(("follower", 1))]);
        let mut plant = |node: usize, index, digest: &str| {
            let replica = &mut survey.nodes[node].answer.as_mut().unwrap().replicas[0];
            (replica.applied_index, replica.digest) = (index, digest.to_owned());
            problems(&survey)
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
            problems(&survey)
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
        let problems = problems(&survey);
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
        let status = ClusterStatus::new(&survey);
        assert_eq!(problems(&survey), ["shard 1: the shard has two histories"]);
        assert!(status.shards[0].replicas.iter().all(|replica| replica.lag.is_none()));
    }
}
