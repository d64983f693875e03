//! The task that follows the shard map, and tells the nodes of its cluster from those of others.
//!
//! It follows the map at one node at a time. To find that node, it asks all nodes that it knows to identify
//! themselves: first the configured ones, then also those in the map. So a router outlives the nodes it was
//! started with.
//!
//! When no node of the cluster answers but nodes of other clusters do, the cluster is gone: the
//! router stops serving, and exits once those nodes have most of the addresses.
//!
//! Invariants: the cluster is chosen once; a map is replaced only by a newer map of the same cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::NodeIdentity;
use coupon_env::entropy::fraction;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{ShardMap, WatchShardMapRequest};
use coupon_transport::{Addressed, Addressee};
use coupon_wire::map::map_from_pb;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use crate::route::retry;
use crate::route::topology::Topology;
use crate::shards::alarm::Alarms;
use crate::shards::census::{self, Census, Choice, Standing};
use crate::shards::confirmation::{self, Confirmation};
use crate::shards::directory::{Service, WrongCluster};
use crate::shards::pool::{Lane, Pool};

/// Timeout for a node to send its first map; then another node is asked.
const FIRST_MAP_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum time to follow a node before leaving it because a shard is ahead of its map: usually the newer map
/// is already on its way.
const FOLLOW_MIN: Duration = Duration::from_millis(300);

/// Interval between log lines while no node has the map: a line for every attempt would flood the
/// log.
const LOST_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Time without a node of the cluster after which the router does not serve.
const SERVICE_LOST: Duration = Duration::from_secs(3);

/// Maximum size of a map: enough for tens of thousands of replicas.
pub(crate) const MAP_BYTES_MAX: usize = 16 << 20;

/// The task behind a [`Directory`](crate::shards::directory::Directory).
pub(crate) struct Follower {
    /// The addresses of the configured nodes.
    pub(crate) configured: Vec<String>,
    /// The connections.
    pub(crate) pool: Arc<Pool>,
    /// Where new maps go.
    pub(crate) topology: watch::Sender<Option<Arc<Topology>>>,
    /// How the router stands.
    pub(crate) service: watch::Sender<Service>,
    /// Signals that a newer map is wanted than the followed node has.
    pub(crate) outdated: Arc<Notify>,
    /// Who waits for the newest map.
    pub(crate) confirmation: Confirmation,
    /// The alarms about other clusters.
    pub(crate) alarms: Arc<Alarms>,
}

impl Follower {
    /// Follows the map of the cluster given, or else of the one that the configured nodes agree on. Ends when
    /// the directory is dropped or the cluster is gone.
    pub(crate) async fn run(self, cluster_id: Option<String>) {
        let unused = self.topology.clone();
        let follow = async {
            let cluster_id = match cluster_id {
                Some(cluster_id) => cluster_id,
                None => self.choose().await,
            };
            let over = self.follow_in_turn(&cluster_id).await;
            tracing::error!("{over}");
            // Nothing is routed by the old map any more.
            self.topology.send_replace(None);
            self.service.send_replace(Service::Over(Arc::new(over)));
        };
        tokio::select! {
            () = unused.closed() => {}
            () = follow => {}
            () = self.confirmation.serve(|| self.read_map()) => {}
        }
    }

    /// Takes over the map of the meta shard. Returns whether it told it.
    async fn read_map(&self) -> bool {
        let known = self.topology.borrow().clone();
        let Some(known) = known else { return false };
        let map = confirmation::read_map(&known, &self.pool).await;
        map.is_some_and(|map| self.adopt(map).is_ok())
    }

    /// Finds out which cluster the configured nodes belong to.
    async fn choose(&self) -> String {
        let mut outage = Outage::default();
        loop {
            let census = census::first(&self.configured, &self.pool).await;
            match census.choose() {
                Choice::Cluster(cluster_id) => {
                    let others = census.not_of(&cluster_id);
                    if others.found.is_empty() {
                        tracing::info!(%cluster_id, "serving this cluster");
                    } else {
                        tracing::warn!(
                            %cluster_id, %others,
                            "serving the cluster that most configured nodes belong to; the others \
                             belong to other clusters, and are not used",
                        );
                    }
                    return cluster_id;
                }
                Choice::Undecided if outage.is_due() => tracing::error!(
                    "the configured nodes belong to different clusters, and the router serves none \
                     of them: {census}; set cluster_id to the one to serve, or configure only its \
                     nodes",
                ),
                Choice::Undecided | Choice::NoAnswer => {}
            }
            outage.misses += 1;
            tokio::time::sleep(retry::pause(outage.misses, false, fraction())).await;
        }
    }

    /// Follows the map, and ends when the cluster is gone.
    async fn follow_in_turn(&self, cluster_id: &str) -> WrongCluster {
        let mut outage = Outage::default();
        let mut left: Option<String> = None;
        loop {
            let addresses = self.addresses();
            let (census, node) =
                census::seek(&addresses, &self.pool, cluster_id, left.as_deref()).await;
            for (address, foreign) in &census.not_of(cluster_id).found {
                self.alarms.foreign(address, foreign);
            }
            match node {
                Some((address, node)) => {
                    match self.follow_one(&address, &node, &mut outage).await {
                        Ok(()) => tracing::info!(
                            %address, "leaving a node to follow the shard map elsewhere"
                        ),
                        // The address tells an operator more than the status, which differs by the
                        // hour.
                        Err(status) if outage.is_due() => tracing::warn!(
                            %address, code = ?status.code(), message = status.message(),
                            "lost the shard map's source",
                        ),
                        Err(_) => {}
                    }
                    left = Some(address);
                }
                None => {
                    if let Some(over) = self.without_node(cluster_id, &census, &mut outage) {
                        return over;
                    }
                }
            }
            outage.misses += 1;
            if outage.lasts() >= SERVICE_LOST {
                self.set_unavailable();
            }
            tokio::time::sleep(retry::pause(outage.misses, false, fraction())).await;
        }
    }

    /// Notes that the router does not serve. Returns whether it did.
    fn set_unavailable(&self) -> bool {
        self.service.send_if_modified(|service| {
            let was_available = matches!(service, Service::Available);
            *service = Service::Unavailable;
            was_available
        })
    }

    /// Handles that no node of the cluster answers. Returns why the router must stop, if it must.
    fn without_node(
        &self,
        cluster_id: &str,
        census: &Census,
        outage: &mut Outage,
    ) -> Option<WrongCluster> {
        match census.standing(cluster_id) {
            Standing::Foreign { most } => {
                let was_available = self.set_unavailable();
                if was_available || outage.is_due() {
                    tracing::error!(
                        "no node of cluster {cluster_id} answers, but other clusters do at its \
                         nodes' addresses: {census}; the router does not serve",
                    );
                }
                most.then(|| WrongCluster {
                    cluster_id: cluster_id.to_owned(),
                    found: census.to_string(),
                })
            }
            Standing::NoAnswer | Standing::Ours => {
                if outage.is_due() {
                    tracing::warn!(%cluster_id, "no node of the cluster answers");
                }
                None
            }
        }
    }

    /// The configured nodes, then those of the map.
    fn addresses(&self) -> Vec<String> {
        let topology = self.topology.borrow().clone();
        let learned = topology.iter().flat_map(|topology| topology.addresses());
        let mut addresses = self.configured.clone();
        addresses
            .extend(learned.filter(|a| !self.configured.iter().any(|c| c == a)).map(str::to_owned));
        addresses
    }

    /// Follows the map at one node until it is lost, or until another node should be asked.
    async fn follow_one(
        &self,
        address: &str,
        node: &NodeIdentity,
        outage: &mut Outage,
    ) -> Result<(), Status> {
        let late = |_| Status::deadline_exceeded("no map in time");
        let since = Instant::now();
        let (first, mut maps) =
            timeout(FIRST_MAP_TIMEOUT, self.watch(address, node)).await.map_err(late)??;
        self.adopt(first)?;
        self.service.send_if_modified(|service| {
            let unavailable = matches!(service, Service::Unavailable);
            *service = Service::Available;
            unavailable
        });
        if std::mem::take(outage).logged.is_some() {
            tracing::info!(%address, "follows the shard map again");
        }
        loop {
            tokio::select! {
                response = maps.message() => match response?.and_then(|response| response.map) {
                    Some(map) => self.adopt(map)?,
                    None => return Err(Status::unavailable("the stream ended")),
                },
                () = self.outdated.notified() => {
                    if since.elapsed() >= FOLLOW_MIN {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn watch(
        &self,
        address: &str,
        node: &NodeIdentity,
    ) -> Result<(ShardMap, Streaming<coupon_proto::internal::WatchShardMapResponse>), Status> {
        let malformed =
            |error: tonic::transport::Error| Status::invalid_argument(error.to_string());
        let channel = self.pool.channel(address, Lane::Calls).map_err(malformed)?;
        let to = Addressee::who_answered(node)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut client = ClusterServiceClient::new(Addressed::new(channel, to))
            .max_decoding_message_size(MAP_BYTES_MAX);
        let mut maps = client.watch_shard_map(WatchShardMapRequest {}).await?.into_inner();
        let first = maps.message().await?.and_then(|response| response.map);
        first.map(|map| (map, maps)).ok_or_else(|| Status::unavailable("the stream ended"))
    }

    /// Takes a map if it is newer.
    fn adopt(&self, map: ShardMap) -> Result<(), Status> {
        let map =
            map_from_pb(map).map_err(|error| Status::failed_precondition(error.to_string()))?;
        let topology =
            Topology::new(&map).map_err(|error| Status::failed_precondition(error.to_string()))?;
        let known = self.topology.borrow().clone();
        if let Some(known) = known {
            if known.cluster_id() != topology.cluster_id() {
                return Err(Status::failed_precondition("the node belongs to another cluster"));
            }
            if known.version() >= topology.version() {
                return Ok(());
            }
        }
        tracing::info!(version = topology.version(), epoch = %topology.epoch(), "new shard map");
        let mut in_use: BTreeSet<&str> = topology.addresses().collect();
        in_use.extend(self.configured.iter().map(String::as_str));
        self.pool.keep_only(&in_use);
        self.alarms.keep_only(&in_use);
        self.topology.send_replace(Some(Arc::new(topology)));
        Ok(())
    }
}

/// The time without a node to follow.
#[derive(Default)]
struct Outage {
    /// The number of nodes that did not have the map.
    misses: u32,
    /// When it was last logged; `None` if never.
    logged: Option<Instant>,
    /// When it began; `None` if it has not.
    began: Option<Instant>,
}

impl Outage {
    /// How long it has lasted. To be asked when a node was lost.
    fn lasts(&mut self) -> Duration {
        self.began.get_or_insert_with(Instant::now).elapsed()
    }

    /// Whether it is time to log it.
    fn is_due(&mut self) -> bool {
        let due = self.logged.is_none_or(|logged| logged.elapsed() >= LOST_LOG_INTERVAL);
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_logged_at_once_and_then_at_intervals() {
        let mut outage = Outage::default();
        let mut logged = 0;
        for _ in 0..600 {
            logged += u32::from(outage.is_due());
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert_eq!(logged, 3);
    }
}
