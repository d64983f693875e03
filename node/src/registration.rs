//! How a node gets permission to run its replicas, each time it starts.
//!
//! Two processes on copies of one directory would cast one vote twice, and a process on an older copy would
//! vote as if it had promised nothing since. So a start is registered with the meta shard before any replica
//! runs. While everything is just starting, the meta shard has no leader. The other nodes are then asked
//! whether they know anything against this start; the meta shard decides as soon as it can.
//!
//! Limit: two copies that start at the same moment, while the meta shard has no leader, may both be admitted
//! by different nodes until it has one. It then refuses one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_cluster::{Node as MapNode, NodeId, ShardMap};
use coupon_proto::internal as pb;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_wire::map;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::node::{Node, StopReason};
use crate::peers::Lane;

/// Pause between two rounds.
const ROUND_INTERVAL: Duration = Duration::from_millis(300);
/// Timeout for one node to register this one: it may first have to find out that another one is gone.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for one node to answer an announcement.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(3);
/// Grace period for objections from the others once a majority agrees.
const OBJECTION_TIMEOUT: Duration = Duration::from_millis(200);
/// How long the meta shard may take to register a start although it has a leader. Afterwards a node that says
/// it has one counts as one that agrees.
const DECISION_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum wait for a majority of the nodes while the meta shard has no leader. After it the node starts
/// without one: shards that live on the nodes that answer can be served.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which an unchanged reason is logged again.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Why a start is refused: the reasons in `ErrorInfo`, domain `coupon.internal.v1`.
pub mod reason {
    /// The node asked belongs to another cluster.
    pub const WRONG_CLUSTER: &str = "WRONG_CLUSTER";
    /// Another process answers with the store's id.
    pub const STORE_IN_USE: &str = "STORE_IN_USE";
    /// The store does not remember its last registered start: it is a copy, or an older state.
    pub const START_UNKNOWN: &str = "START_UNKNOWN";
    /// The store was replaced by another one.
    pub const STORE_REPLACED: &str = "STORE_REPLACED";
    /// The node was removed.
    pub const NODE_REMOVED: &str = "NODE_REMOVED";
    /// A shard would lose its quorum.
    pub const QUORUM_AT_RISK: &str = "QUORUM_AT_RISK";
    /// The node has replicas.
    pub const NODE_IN_USE: &str = "NODE_IN_USE";
    /// Every other node already has a replica of one of its shards.
    pub const NO_SPARE_NODE: &str = "NO_SPARE_NODE";
    /// The metadata that names the version of the shard map by which a start is refused.
    pub const MAP_VERSION: &str = "map_version";
}

/// The answer of one node.
enum Answer<T> {
    /// It agrees.
    Yes(T),
    /// It cannot say, or its objection may pass.
    NotYet(String),
    /// This node must not run as it was started.
    Never(StopReason),
}

/// The outcome of asking all nodes while the meta shard cannot decide.
enum Round {
    /// Most of them agree, or those that answer do and the others were waited for.
    Agreed,
    /// Too few have answered, or the meta shard can decide.
    Open,
    /// One of them objects.
    Objected(String),
}

/// Logs why a node waits, at a bounded rate.
#[derive(Default)]
struct Waiting {
    logged: Option<Instant>,
}

impl Waiting {
    /// `is_new`: the node is in no cluster yet, and waits for nothing but that.
    fn say(&mut self, is_new: bool, address: &str, why: &str) {
        if self.logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        self.logged = Some(Instant::now());
        let what = "not registered yet: no replica runs here until it is";
        if is_new {
            tracing::info!(%address, why, "{what}");
        } else {
            tracing::warn!(%address, why, "{what}");
        }
    }
}

impl Node {
    /// Asks until this start is registered or refused. Replicas may run from then on, or as soon as the nodes
    /// that answer agree while the meta shard cannot decide.
    pub(crate) async fn register(self: Arc<Self>) {
        let (began, mut waiting) = (Instant::now(), Waiting::default());
        loop {
            let map = self.known.get();
            if self.is_registered(&map) {
                return self.admit();
            }
            // Also once replicas run: a node that answers later may know better.
            if map.is_initialized() {
                match self.announce_to_all(&map, began.elapsed()).await {
                    Round::Agreed if !self.is_admitted() => {
                        tracing::info!(
                            "replicas run unregistered: the meta shard has no leader yet"
                        );
                        self.admit();
                    }
                    Round::Objected(why) if self.is_admitted() => {
                        return self.refuse(StopReason::Objected(why));
                    }
                    Round::Objected(why) => {
                        self.wait_for(format!("it is not registered yet: {why}"));
                    }
                    Round::Agreed | Round::Open => {}
                }
            }
            for address in self.addresses(&map) {
                match self.register_at(&address).await {
                    Answer::Yes(()) => break,
                    Answer::NotYet(why) => {
                        waiting.say(!map.is_initialized(), &address, &why);
                        self.wait_for(format!("it is not registered yet: {address}: {why}"));
                    }
                    Answer::Never(refused) => return self.refuse(refused),
                }
            }
            if !self.is_registered(&self.known.get()) {
                tokio::time::sleep(ROUND_INTERVAL).await;
            }
        }
    }

    /// All addresses where the cluster may be found; this node itself comes last, in case it is the
    /// only one.
    fn addresses(&self, map: &ShardMap) -> Vec<String> {
        let known = map.nodes.values().map(|node| node.address.clone());
        let mut all: Vec<String> =
            self.config.join.iter().cloned().chain(self.peers_kept()).collect();
        all.extend(known);
        let me = self.identify().address;
        let mut seen = std::collections::BTreeSet::from([me.clone()]);
        all.retain(|address| seen.insert(address.clone()));
        all.extend(map.is_initialized().then_some(me));
        all
    }

    /// Asks one node to register this start with the meta shard.
    async fn register_at(self: &Arc<Self>, address: &str) -> Answer<()> {
        let not_yet = |why: &str| Answer::NotYet(why.to_owned());
        let Some(channel) = self.peers.channel_to(address.to_owned(), Lane::Control) else {
            return not_yet("this is not an address");
        };
        let mut client = ClusterServiceClient::new(channel);
        let asked = client.register_node(self.registration());
        let answer = match tokio::time::timeout(REGISTER_TIMEOUT, asked).await {
            Err(_) => return not_yet("no answer in time"),
            Ok(Err(status)) => return self.refusal(&status),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        let Some(Ok(map)) = answer.map.map(map::map_from_pb) else {
            return not_yet("it answered with a malformed map");
        };
        match self.adopt(&Arc::new(map)).await {
            Ok(()) => Answer::Yes(()),
            Err(error) => Answer::Never(error.into()),
        }
    }

    /// Classifies a refusal.
    fn refusal(&self, status: &Status) -> Answer<()> {
        let why = status.message().to_owned();
        if status.code() != Code::FailedPrecondition {
            return Answer::NotYet(why);
        }
        let Some(info) = status.get_details_error_info() else {
            return Answer::Never(StopReason::ByCluster(why));
        };
        let by_map =
            info.metadata.get(reason::MAP_VERSION).and_then(|version| version.parse().ok());
        let known = self.known.get().version;
        match info.reason.as_str() {
            // A node of another cluster has the address of one of this cluster.
            reason::WRONG_CLUSTER => Answer::NotYet(why),
            reason::START_UNKNOWN | reason::STORE_REPLACED | reason::NODE_REMOVED
                if by_map.is_some_and(|version: u64| version < known) =>
            {
                // The meta shard itself was rolled back. Where the histories meet, that shows.
                tracing::error!(
                    ?by_map,
                    known,
                    why,
                    "the meta shard has forgotten its newest maps"
                );
                self.admit();
                Answer::NotYet(format!("the meta shard has forgotten its newest maps: {why}"))
            }
            // The quorum may come back, or other nodes may be replaced first.
            reason::QUORUM_AT_RISK => Answer::NotYet(why),
            reason::START_UNKNOWN => {
                self.mark_lost(&why);
                Answer::Never(StopReason::Lost(why))
            }
            _ => Answer::Never(StopReason::ByCluster(why)),
        }
    }

    /// Asks all nodes of the map at once whether they know anything against this start, which began `waited` ago.
    async fn announce_to_all(&self, map: &ShardMap, waited: Duration) -> Round {
        let me = self.config.node_id;
        let request = self.announcement();
        let others = map.nodes.iter().filter(|(id, _)| **id != me);
        let mut asked: FuturesUnordered<_> =
            others.map(|(id, node)| self.announce_to(*id, node, request.clone())).collect();
        let majority = map.nodes.len() / 2 + 1;
        let mut agreed = 1;
        loop {
            // Once most agree, the others get a chance to object, if they run at all.
            let patience = if agreed >= majority { OBJECTION_TIMEOUT } else { ANNOUNCE_TIMEOUT };
            match tokio::time::timeout(patience, asked.next()).await {
                // A meta shard that decides nothing for long counts as none.
                Ok(Some(Answer::Yes(true))) if waited < DECISION_TIMEOUT => return Round::Open,
                Ok(Some(Answer::Yes(_))) => agreed += 1,
                Ok(Some(Answer::NotYet(_))) => {}
                Ok(Some(Answer::Never(refused))) => return Round::Objected(refused.to_string()),
                Ok(None) | Err(_) => break,
            }
        }
        if agreed >= majority || waited >= MAJORITY_TIMEOUT { Round::Agreed } else { Round::Open }
    }

    /// Asks one node, which may itself run on an older copy of its directory: what it says of itself is held
    /// against the map that this node knows.
    async fn announce_to(
        &self,
        id: NodeId,
        known: &MapNode,
        request: pb::AnnounceRequest,
    ) -> Answer<bool> {
        let not_yet = |why: &str| Answer::NotYet(why.to_owned());
        let Some(channel) = self.peers.channel_unnamed(id, Lane::Control) else {
            return not_yet("it has no address");
        };
        let mut client = ClusterServiceClient::new(channel);
        let asked = client.announce(request);
        match tokio::time::timeout(ANNOUNCE_TIMEOUT, asked).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                let itself = answer.itself.unwrap_or_default();
                let node = itself.node.unwrap_or_default();
                let remembers = node.start_id == known.start_id
                    || itself.known_start_ids.contains(&known.start_id);
                match node.node_id == id.get() && node.store_id == known.store_id && remembers {
                    true => Answer::Yes(answer.meta_is_led),
                    false => not_yet("it does not remember its own last start"),
                }
            }
            Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
                let reason = status.get_details_error_info().map(|info| info.reason);
                match reason.as_deref() {
                    // It is not a node of this cluster, and knows nothing about it.
                    Some(reason::WRONG_CLUSTER) => not_yet(status.message()),
                    Some(_) | None => {
                        Answer::Never(StopReason::ByCluster(status.message().to_owned()))
                    }
                }
            }
            Ok(Err(status)) => not_yet(status.message()),
            Err(_) => not_yet("no answer in time"),
        }
    }
}
