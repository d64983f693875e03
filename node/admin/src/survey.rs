//! What every node of a shard map says about itself.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use coupon_cluster::{Node, NodeId, NodeIdentity, ReplicaId, ShardId, ShardMap};
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{GetNodeStatusRequest, GetNodeStatusResponse, ReplicaStatus};
use coupon_transport::{Addressed, Addressee, Mismatch, Reason};
use futures::future::join_all;
use tokio::time::timeout;

use crate::ask::{AskError, connect, map_of};

/// Timeout for a node to report its status, the connection included.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout for a node that has to read its whole state for that.
pub const DIGEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What every node is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Whether it is to compute a digest of each replica's state.
    pub digests: bool,
    /// How long it may take to answer before it counts as unreachable.
    pub timeout: Duration,
}

impl Default for Question {
    fn default() -> Self {
        Self { digests: false, timeout: ANSWER_TIMEOUT }
    }
}

/// A cluster at one moment, more or less: the nodes answer at the same time, not at the same instant.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The shard map.
    pub map: ShardMap,
    /// What each node of the map answered, in the order of the map.
    pub nodes: Vec<NodeAnswer>,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub struct NodeAnswer {
    /// The node.
    pub id: NodeId,
    /// What the map says about it.
    pub node: Node,
    /// Its answer, or why it gave no answer.
    pub answer: Result<GetNodeStatusResponse, NoAnswer>,
}

/// Why a node of the map did not report its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// No node answers there, or only with an error.
    Unreachable(String),
    /// It answers, but is in no cluster yet.
    NotJoined,
    /// A node of another cluster answers there.
    Foreign(NodeIdentity),
    /// Another node of the cluster, or this one with another data directory, answers there.
    Exchanged(NodeIdentity),
}

impl NoAnswer {
    /// Classifies an answer by another node than the one in the map.
    fn new(mismatch: &Mismatch, meant: NodeId, store_id: &str) -> Self {
        let Some(who) = mismatch.answerer.clone() else {
            return Self::Unreachable(mismatch.to_string());
        };
        let is_same = who.node_id == meant && who.store_id == store_id;
        if mismatch.foreign_cluster().is_some() {
            Self::Foreign(who)
        } else if is_same && mismatch.reason == Reason::WrongCluster {
            Self::NotJoined
        } else {
            Self::Exchanged(who)
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => f.write_str(why),
            Self::NotJoined => f.write_str("it has not joined the cluster yet"),
            Self::Foreign(NodeIdentity { cluster_id, node_id, .. }) => {
                write!(f, "foreign: node {} of cluster {cluster_id} answers", node_id.get())
            }
            Self::Exchanged(who) => write!(f, "another store answers: {who}"),
        }
    }
}

impl NodeAnswer {
    /// What it says about its replica of a shard.
    pub fn replica(&self, shard: ShardId) -> Option<&ReplicaStatus> {
        let replicas = &self.answer.as_ref().ok()?.replicas;
        replicas.iter().find(|replica| replica.shard_id == shard.get())
    }
}

impl Survey {
    /// Asks every node of the map.
    pub async fn take(map: ShardMap, question: Question) -> Self {
        let cluster_id = &map.cluster_id;
        let nodes = join_all(map.nodes.iter().map(|(&id, node)| async move {
            let answer = ask(cluster_id, id, node, question).await;
            NodeAnswer { id, node: node.clone(), answer }
        }));
        Self { nodes: nodes.await, map }
    }

    /// The newest map of the cluster. Where another store answers than the one in the map, the node was
    /// replaced since, so its peers are asked for a newer map.
    pub async fn newest_map(&self) -> ShardMap {
        let exchanged = |node: &NodeAnswer| matches!(node.answer, Err(NoAnswer::Exchanged(_)));
        let mut newest = self.map.clone();
        if self.nodes.iter().any(exchanged) {
            let maps = join_all(self.nodes.iter().map(|node| map_of(&node.node.address))).await;
            for map in maps.into_iter().flatten() {
                if map.cluster_id == newest.cluster_id && map.version > newest.version {
                    newest = map;
                }
            }
        }
        newest
    }

    /// The node that leads a shard. A deposed leader may still call itself one, so that the highest
    /// term counts.
    pub fn leader(&self, shard: ShardId) -> Option<(NodeId, &ReplicaStatus)> {
        let replicas = self
            .nodes
            .iter()
            .filter_map(|node| node.replica(shard).map(|replica| (node.id, replica)));
        replicas
            .filter(|(_, replica)| replica.state == "leader")
            .max_by_key(|(_, replica)| replica.term)
    }

    /// The shards without a leader.
    pub fn leaderless(&self) -> Vec<ShardId> {
        self.map.shards.keys().copied().filter(|shard| self.leader(*shard).is_none()).collect()
    }

    /// Whether every shard has a leader, and every replica of the map is up and knows it.
    pub fn is_settled(&self) -> bool {
        self.map.shards.iter().all(|(shard, replicas)| {
            let Some((leader, _)) = self.leader(*shard) else { return false };
            replicas.values().all(|replica| {
                let node = self.node(replica.node);
                let status = node.and_then(|node| node.replica(*shard));
                status.is_some_and(|status| status.leader_node_id == leader.get())
            })
        })
    }

    /// What a node answered; `None` if the map does not have it.
    pub(crate) fn node(&self, id: NodeId) -> Option<&NodeAnswer> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// What a replica says; `None` when its node does not answer, or does not run it. During a replacement the
    /// map may name the next replica while the node runs the last one.
    pub(crate) fn replica(
        &self,
        shard: ShardId,
        replica: ReplicaId,
        node: NodeId,
    ) -> Option<&ReplicaStatus> {
        let status = self.node(node)?.replica(shard)?;
        (status.replica_id == replica.get()).then_some(status)
    }
}

async fn ask(
    cluster_id: &str,
    id: NodeId,
    node: &Node,
    question: Question,
) -> Result<GetNodeStatusResponse, NoAnswer> {
    let unreachable = |error: AskError| NoAnswer::Unreachable(chain(&error));
    let asked = async {
        let to = Addressee::new(cluster_id, id, &node.store_id);
        let to = to.map_err(|error| unreachable(error.into()))?;
        let channel = connect(&node.address).await.map_err(unreachable)?;
        let mut client = ClusterServiceClient::new(Addressed::new(channel, to));
        let request = GetNodeStatusRequest { digests: question.digests };
        let answer = client.get_node_status(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| match Mismatch::of(&status) {
            Some(mismatch) => NoAnswer::new(&mismatch, id, &node.store_id),
            None => unreachable(AskError::Refused(status)),
        })
    };
    timeout(question.timeout, asked).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(question.timeout);
        Err(NoAnswer::Unreachable(format!("no answer within {limit}")))
    })
}

/// An error and its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use coupon_cluster::{Replica, ReplicaRole};

    use super::*;

    /// A cluster with one shard on nodes 1, 2, …; `states` are its replicas' states and terms, and
    /// `None` is a node that does not answer.
    pub(crate) fn survey(states: &[Option<(&str, u64)>]) -> Survey {
        let shard = ShardId::new(1).unwrap();
        let ids = || (1_u64..).map(|id| NodeId::new(id).unwrap());
        let node = |id: NodeId| Node {
            address: format!("n{id}:1"),
            store_id: "s".to_owned(),
            start_id: String::new(),
        };
        let replicas = states.iter().zip(ids()).map(|(_, node)| {
            (ReplicaId(node.get() + 100), Replica { node, role: ReplicaRole::Initial })
        });
        let leader = states
            .iter()
            .zip(ids())
            .find(|(state, _)| state.is_some_and(|(state, _)| state == "leader"));
        let leader_node_id = leader.map_or(0, |(_, id)| id.get());
        let answer = |state: &str, term, id: NodeId| GetNodeStatusResponse {
            replicas: vec![ReplicaStatus {
                shard_id: shard.get(),
                replica_id: id.get() + 100,
                state: state.to_owned(),
                term,
                leader_node_id,
                last_log_index: 10 * id.get(),
                applied_index: 9 * id.get(),
                ..ReplicaStatus::default()
            }],
            clock_trusted: true,
            ..GetNodeStatusResponse::default()
        };
        let nodes = states.iter().zip(ids()).map(|(state, id)| NodeAnswer {
            id,
            node: node(id),
            answer: match state {
                Some((state, term)) => Ok(answer(state, *term, id)),
                None => Err(NoAnswer::Unreachable("connection refused".to_owned())),
            },
        });
        let map = ShardMap {
            nodes: states.iter().zip(ids()).map(|(_, id)| (id, node(id))).collect(),
            shards: BTreeMap::from([(shard, replicas.collect())]),
            ring_shards: BTreeSet::from([shard]),
            ..ShardMap::default()
        };
        Survey { map, nodes: nodes.collect() }
    }

    #[test]
    fn another_node_than_the_one_of_the_map_is_told_as_what_it_is() {
        let told = |reason, cluster_id: &str, node_id, store_id: &str| {
            let node_id = NodeId::new(node_id).unwrap();
            let (cluster_id, store_id) = (cluster_id.to_owned(), store_id.to_owned());
            let answerer = Some(NodeIdentity { cluster_id, node_id, store_id });
            let mismatch = Mismatch { reason, answerer };
            NoAnswer::new(&mismatch, NodeId::new(3).unwrap(), "s")
        };
        let foreign = told(Reason::WrongCluster, "d", 1, "t");
        assert!(matches!(foreign, NoAnswer::Foreign(_)));
        assert_eq!(foreign.to_string(), "foreign: node 1 of cluster d answers");
        assert_eq!(told(Reason::WrongCluster, "", 3, "s"), NoAnswer::NotJoined);
        for exchanged in [
            told(Reason::WrongCluster, "", 3, "t"),
            told(Reason::WrongNode, "c", 2, "t"),
            told(Reason::WrongStore, "c", 3, "t"),
        ] {
            assert!(matches!(exchanged, NoAnswer::Exchanged(_)));
            let told = exchanged.to_string();
            assert!(told.starts_with("another store answers: node"), "{told}");
        }
    }

    #[test]
    fn the_highest_term_leads() {
        let survey = survey(&[Some(("leader", 3)), Some(("leader", 4)), Some(("follower", 4))]);
        let shard = |id| ShardId::new(id).unwrap();
        assert_eq!(survey.leader(shard(1)).unwrap().0.get(), 2);
        assert!(survey.leaderless().is_empty());
        assert!(survey.leader(shard(2)).is_none());
    }

    #[test]
    fn a_cluster_is_settled_when_all_are_up_and_agree() {
        let (leader, follower) = (Some(("leader", 1)), Some(("follower", 1)));
        assert!(survey(&[leader, follower, follower]).is_settled());
        assert!(!survey(&[leader, follower, None]).is_settled());
        assert!(!survey(&[follower, follower, follower]).is_settled());
        assert_eq!(survey(&[follower, None]).leaderless(), [ShardId::new(1).unwrap()]);
    }
}
