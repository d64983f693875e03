//! What a cluster looks like: its shard map, and what every node of the map says about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_cluster::NodeId;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{
    GetNodeStatusRequest, GetNodeStatusResponse, IdentifyRequest, NodeInfo, ReplicaStatus,
    ShardMap, WatchShardMapRequest,
};
use coupon_transport::{Addressed, AddressedChannel, Addressee, Mismatch, NodeIdentity, Reason};
use futures::future::join_all;
use tokio::time::timeout;

use crate::client;
use crate::failure::CallError;

/// How long a node may take to send a map.
const MAP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a node may take to say how it is, including the connection.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long it may take if it has to read its whole state for that.
pub(crate) const DIGEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What every node is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// Whether it is to compute a digest of each replica's state.
    pub(crate) digests: bool,
    /// How long it may take to answer before it counts as unreachable.
    pub(crate) timeout: Duration,
}

impl Default for Question {
    fn default() -> Self {
        Self { digests: false, timeout: ANSWER_TIMEOUT }
    }
}

/// A cluster at one moment, more or less: the nodes answer at the same time, not at the same instant.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// The shard map.
    pub(crate) map: ShardMap,
    /// What each node of the map answered, in the order of the map.
    pub(crate) nodes: Vec<NodeAnswer>,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub(crate) struct NodeAnswer {
    /// The node.
    pub(crate) info: NodeInfo,
    /// Its answer, or why it gave no answer.
    pub(crate) answer: Result<GetNodeStatusResponse, NoAnswer>,
}

/// Why a node of the map did not report its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
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
    fn of(mismatch: &Mismatch, meant: &NodeInfo) -> Self {
        let Some(who) = mismatch.answerer.clone() else {
            return Self::Unreachable(mismatch.to_string());
        };
        let is_same = who.node_id.get() == meant.node_id && who.store_id == meant.store_id;
        if mismatch.foreign_cluster().is_some() {
            Self::Foreign(who)
        } else if is_same && mismatch.reason == Reason::WrongCluster {
            Self::NotJoined
        } else {
            Self::Exchanged(who)
        }
    }

    /// The state shown, in a word or two.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::NotJoined => "not joined",
            Self::Foreign(_) => "foreign",
            Self::Exchanged(_) => "other store",
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
    pub(crate) fn replica(&self, shard_id: u32) -> Option<&ReplicaStatus> {
        let replicas = &self.answer.as_ref().ok()?.replicas;
        replicas.iter().find(|replica| replica.shard_id == shard_id)
    }
}

/// A client of the node at an address, addressed as a member of its cluster.
///
/// # Errors
/// When the node does not answer or is in no cluster.
pub(crate) async fn member_at(
    address: &str,
) -> anyhow::Result<ClusterServiceClient<AddressedChannel>> {
    let channel = client::connect(address).await?;
    let mut client = ClusterServiceClient::new(channel.clone());
    let silent = || format!("the node at {address} does not answer");
    let identity = timeout(MAP_TIMEOUT, client.identify(IdentifyRequest {})).await;
    let identity = identity.with_context(silent)?.map_err(CallError::from)?.into_inner();
    if identity.cluster_id.is_empty() {
        let id = identity.node_id;
        bail!("node {id} at {address} is in no cluster yet: run coupon cluster init");
    }
    let node_id = NodeId::new(identity.node_id).context("the node has no id")?;
    let to = Addressee::new(&identity.cluster_id, node_id, &identity.store_id)?;
    Ok(ClusterServiceClient::new(Addressed::new(channel, to)))
}

/// The shard map that a node knows.
///
/// # Errors
/// As [`member_at`].
pub(crate) async fn map_of(address: &str) -> anyhow::Result<ShardMap> {
    let mut client = member_at(address).await?;
    let first = async {
        let answer = client.watch_shard_map(WatchShardMapRequest {}).await?;
        answer.into_inner().message().await
    };
    let first = timeout(MAP_TIMEOUT, first).await;
    let first = first.with_context(|| format!("the node at {address} does not answer"))?;
    if first.as_ref().is_err_and(|status| Mismatch::of(status).is_some()) {
        bail!("the node at {address} is not registered with its cluster yet: its log says why");
    }
    let map = first.map_err(CallError::from)?.and_then(|message| message.map);
    map.with_context(|| format!("the node at {address} sent no shard map"))
}

impl Survey {
    /// Asks every node of the map.
    pub(crate) async fn take(map: ShardMap, question: Question) -> Self {
        let nodes = join_all(map.nodes.iter().map(|info| async {
            let answer = ask(&map.cluster_id, info, question).await;
            NodeAnswer { info: info.clone(), answer }
        }));
        Self { nodes: nodes.await, map }
    }

    /// The newest map of the cluster. Where another store answers than the one in the map, the node was
    /// replaced since, so its peers are asked for a newer map.
    pub(crate) async fn newest_map(&self) -> ShardMap {
        let exchanged = |node: &NodeAnswer| matches!(node.answer, Err(NoAnswer::Exchanged(_)));
        let mut newest = self.map.clone();
        if self.nodes.iter().any(exchanged) {
            let maps = join_all(self.nodes.iter().map(|node| map_of(&node.info.address))).await;
            for map in maps.into_iter().flatten() {
                if map.cluster_id == newest.cluster_id && map.version > newest.version {
                    newest = map;
                }
            }
        }
        newest
    }

    /// The shards that own campaigns, and the meta shard.
    pub(crate) fn shard_ids(&self) -> impl Iterator<Item = u32> {
        self.map.shards.iter().map(|shard| shard.shard_id)
    }

    /// The node that leads a shard. A deposed leader may still call itself one, so that the highest
    /// term counts.
    pub(crate) fn leader(&self, shard_id: u32) -> Option<(u64, &ReplicaStatus)> {
        let replicas = self
            .nodes
            .iter()
            .filter_map(|node| node.replica(shard_id).map(|replica| (node.info.node_id, replica)));
        replicas
            .filter(|(_, replica)| replica.state == "leader")
            .max_by_key(|(_, replica)| replica.term)
    }

    /// The shards without a leader.
    pub(crate) fn leaderless(&self) -> Vec<u32> {
        self.shard_ids().filter(|shard| self.leader(*shard).is_none()).collect()
    }

    /// Whether every shard has a leader, and every replica of the map is up and knows it.
    pub(crate) fn is_settled(&self) -> bool {
        let nodes: BTreeMap<u64, &NodeAnswer> =
            self.nodes.iter().map(|node| (node.info.node_id, node)).collect();
        self.map.shards.iter().all(|shard| {
            let Some((leader, _)) = self.leader(shard.shard_id) else { return false };
            shard.replicas.iter().all(|replica| {
                let node = nodes.get(&replica.node_id);
                let status = node.and_then(|node| node.replica(shard.shard_id));
                status.is_some_and(|status| status.leader_node_id == leader)
            })
        })
    }
}

async fn ask(
    cluster_id: &str,
    info: &NodeInfo,
    question: Question,
) -> Result<GetNodeStatusResponse, NoAnswer> {
    let asked = async {
        let unreachable = |error: anyhow::Error| NoAnswer::Unreachable(format!("{error:#}"));
        let node_id = NodeId::new(info.node_id).map_err(|error| unreachable(error.into()))?;
        let to = Addressee::new(cluster_id, node_id, &info.store_id)
            .map_err(|error| unreachable(error.into()))?;
        let channel = client::connect(&info.address).await.map_err(unreachable)?;
        let mut client = ClusterServiceClient::new(Addressed::new(channel, to));
        let request = GetNodeStatusRequest { digests: question.digests };
        let answer = client.get_node_status(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| match Mismatch::of(&status) {
            Some(mismatch) => NoAnswer::of(&mismatch, info),
            None => NoAnswer::Unreachable(CallError::from(status).to_string()),
        })
    };
    timeout(question.timeout, asked).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(question.timeout);
        Err(NoAnswer::Unreachable(format!("no answer within {limit}")))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use coupon_proto::internal::{ReplicaInfo, ShardInfo};

    use super::*;

    /// A cluster with one shard on nodes 1, 2, …; `states` are its replicas' states and terms, and
    /// `None` is a node that does not answer.
    pub(crate) fn survey(states: &[Option<(&str, u64)>]) -> Survey {
        let ids = || 1_u64..;
        let replicas = states.iter().zip(ids()).map(|(_, node_id)| ReplicaInfo {
            replica_id: node_id + 100,
            node_id,
            role: 1,
        });
        let shards = vec![ShardInfo { shard_id: 1, replicas: replicas.collect() }];
        let leader = states.iter().zip(ids()).find_map(|(state, id)| {
            state.is_some_and(|(state, _)| state == "leader").then_some(id)
        });
        let answer = |state: &str, term, id| GetNodeStatusResponse {
            replicas: vec![ReplicaStatus {
                shard_id: 1,
                replica_id: id + 100,
                state: state.to_owned(),
                term,
                leader_node_id: leader.unwrap_or(0),
                last_log_index: 10 * id,
                applied_index: 9 * id,
                ..ReplicaStatus::default()
            }],
            clock_trusted: true,
            ..GetNodeStatusResponse::default()
        };
        let nodes = states.iter().zip(ids()).map(|(state, node_id)| NodeAnswer {
            info: NodeInfo { node_id, address: format!("n{node_id}:1"), ..NodeInfo::default() },
            answer: match state {
                Some((state, term)) => Ok(answer(state, *term, node_id)),
                None => Err(NoAnswer::Unreachable("connection refused".to_owned())),
            },
        });
        let map = ShardMap { shards, ring_shards: vec![1], ..ShardMap::default() };
        Survey { map, nodes: nodes.collect() }
    }

    #[test]
    fn another_node_than_the_one_of_the_map_is_told_as_what_it_is() {
        let told = |reason, cluster_id: &str, node_id, store_id: &str| {
            let node_id = NodeId::new(node_id).unwrap();
            let (cluster_id, store_id) = (cluster_id.to_owned(), store_id.to_owned());
            let answerer = Some(NodeIdentity { cluster_id, node_id, store_id });
            let meant = NodeInfo { node_id: 3, store_id: "s".to_owned(), ..NodeInfo::default() };
            let no_answer = NoAnswer::of(&Mismatch { reason, answerer }, &meant);
            (no_answer.state(), no_answer.to_string())
        };
        let foreign = told(Reason::WrongCluster, "d", 1, "t");
        assert_eq!(foreign, ("foreign", "foreign: node 1 of cluster d answers".to_owned()));
        assert_eq!(told(Reason::WrongCluster, "", 3, "s").0, "not joined");
        for exchanged in [
            told(Reason::WrongCluster, "", 3, "t"),
            told(Reason::WrongNode, "c", 2, "t"),
            told(Reason::WrongStore, "c", 3, "t"),
        ] {
            assert_eq!(exchanged.0, "other store");
            assert!(exchanged.1.starts_with("another store answers: node"), "{}", exchanged.1);
        }
    }

    #[test]
    fn the_highest_term_leads() {
        let survey = survey(&[Some(("leader", 3)), Some(("leader", 4)), Some(("follower", 4))]);
        assert_eq!(survey.leader(1).unwrap().0, 2);
        assert!(survey.leaderless().is_empty());
        assert!(survey.leader(2).is_none());
    }

    #[test]
    fn a_cluster_is_settled_when_all_are_up_and_agree() {
        let (leader, follower) = (Some(("leader", 1)), Some(("follower", 1)));
        assert!(survey(&[leader, follower, follower]).is_settled());
        assert!(!survey(&[leader, follower, None]).is_settled());
        assert!(!survey(&[follower, follower, follower]).is_settled());
        assert_eq!(survey(&[follower, None]).leaderless(), [1]);
    }
}
