//! The watched shard map.
//!
//! One task follows the map at one node at a time: first those that were configured, then also those
//! that the map names, so that a router outlives the nodes it was started with. Losing every node
//! changes nothing about what is known; requests go on with the last map, and the shards themselves
//! refuse what was routed by an old one.
//!
//! Invariant: a map is replaced only by a newer map of the same cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::Epoch;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{ShardMap, WatchShardMapRequest};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, Streaming};

use crate::pool::{Lane, Pool};
use crate::retry;
use crate::topology::Topology;

/// How long a node may take to send its first map before another one is asked.
const FIRST_MAP_TIMEOUT: Duration = Duration::from_secs(2);

/// A node is left for another one, when a shard is ahead of its map, only after following it so long:
/// usually the newer map is just on its way.
const FOLLOW_MIN: Duration = Duration::from_millis(300);

/// While no node has the map, every miss would be a line in the log. It gets one so often.
const LOST_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How much of a map is read at most: tens of thousands of replicas.
const MAP_BYTES_MAX: usize = 16 << 20;

/// What is known of the cluster. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    topology: watch::Receiver<Option<Arc<Topology>>>,
    outdated: Arc<Notify>,
}

impl Directory {
    /// Starts to follow the map. The task ends when the last clone of the directory is dropped.
    pub(crate) fn follow(configured: Vec<String>, pool: Arc<Pool>) -> Self {
        let (sender, topology) = watch::channel(None);
        let outdated = Arc::new(Notify::new());
        let follower = Follower { configured, pool, sender, outdated: Arc::clone(&outdated) };
        tokio::spawn(follower.run());
        Self { topology, outdated }
    }

    /// The newest map known, if any.
    pub(crate) fn current(&self) -> Option<Arc<Topology>> {
        self.topology.borrow().clone()
    }

    /// Waits for the first map, for ever.
    pub(crate) async fn first(&self) {
        // The follower outlives its directories, so that there is nothing to fail.
        let _ = self.topology.clone().wait_for(Option::is_some).await;
    }

    /// The newest map known, waiting for the first one. `None` when there is none until `deadline`.
    pub(crate) async fn known(&self, deadline: Instant) -> Option<Arc<Topology>> {
        match self.current() {
            Some(topology) => Some(topology),
            None => self.wait(deadline, |_| true).await,
        }
    }

    /// A map that is newer than `version`. `None` when there is none until `deadline`.
    pub(crate) async fn newer(&self, version: u64, deadline: Instant) -> Option<Arc<Topology>> {
        self.wait(deadline, |topology| topology.version() > version).await
    }

    /// Waits for a map of at least `epoch`, which a shard said it is at, but not beyond `until`.
    pub(crate) async fn reach(&self, epoch: Epoch, until: Instant) {
        if self.current().is_none_or(|topology| topology.epoch() < epoch) {
            self.outdated.notify_one();
        }
        self.wait(until, |topology| topology.epoch() >= epoch).await;
    }

    async fn wait(
        &self,
        deadline: Instant,
        enough: impl Fn(&Topology) -> bool,
    ) -> Option<Arc<Topology>> {
        let mut topology = self.topology.clone();
        let found = topology.wait_for(|topology| topology.as_deref().is_some_and(&enough));
        timeout_at(deadline, found).await.ok()?.ok()?.clone()
    }
}

/// How long it has been without a node to follow.
#[derive(Default)]
struct Outage {
    /// How many nodes were asked in vain.
    misses: u32,
    /// When it was last logged; `None`: it was not.
    logged: Option<Instant>,
}

impl Outage {
    /// Whether it is time to log it.
    fn is_due(&mut self) -> bool {
        let due = self.logged.is_none_or(|logged| logged.elapsed() >= LOST_LOG_INTERVAL);
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }
}

/// The task behind a [`Directory`].
struct Follower {
    configured: Vec<String>,
    pool: Arc<Pool>,
    sender: watch::Sender<Option<Arc<Topology>>>,
    outdated: Arc<Notify>,
}

impl Follower {
    async fn run(self) {
        let unused = self.sender.clone();
        tokio::select! {
            () = unused.closed() => {}
            () = self.follow_in_turn() => {}
        }
    }

    async fn follow_in_turn(&self) {
        let mut outage = Outage::default();
        for turn in 0_usize.. {
            let addresses = self.addresses();
            let Some(address) = addresses.get(turn % addresses.len().max(1)) else { return };
            match self.follow_one(address, &mut outage).await {
                Ok(()) => {
                    tracing::info!(%address, "leaving a node to follow the shard map elsewhere")
                }
                // The address tells an operator more than the status, which differs by the hour.
                Err(status) if outage.is_due() => tracing::warn!(
                    %address, code = ?status.code(), message = status.message(),
                    "lost the shard map's source",
                ),
                Err(_) => {}
            }
            outage.misses += 1;
            tokio::time::sleep(retry::random_pause(outage.misses, false)).await;
        }
    }

    /// The configured nodes, then those of the map.
    fn addresses(&self) -> Vec<String> {
        let topology = self.sender.borrow().clone();
        let learned = topology.iter().flat_map(|topology| topology.addresses());
        let mut addresses = self.configured.clone();
        addresses
            .extend(learned.filter(|a| !self.configured.iter().any(|c| c == a)).map(str::to_owned));
        addresses
    }

    /// Follows the map at one node until it is lost, or until another node should be asked.
    async fn follow_one(&self, address: &str, outage: &mut Outage) -> Result<(), Status> {
        let late = |_| Status::deadline_exceeded("no map in time");
        let since = Instant::now();
        let (first, mut maps) =
            timeout(FIRST_MAP_TIMEOUT, self.watch(address)).await.map_err(late)??;
        self.adopt(&first)?;
        if std::mem::take(outage).logged.is_some() {
            tracing::info!(%address, "follows the shard map again");
        }
        loop {
            tokio::select! {
                response = maps.message() => match response?.and_then(|response| response.map) {
                    Some(map) => self.adopt(&map)?,
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
    ) -> Result<(ShardMap, Streaming<coupon_proto::internal::WatchShardMapResponse>), Status> {
        let malformed =
            |error: tonic::transport::Error| Status::invalid_argument(error.to_string());
        let channel = self.pool.channel(address, Lane::Calls).map_err(malformed)?;
        let mut client =
            ClusterServiceClient::new(channel).max_decoding_message_size(MAP_BYTES_MAX);
        let mut maps = client.watch_shard_map(WatchShardMapRequest {}).await?.into_inner();
        let first = maps.message().await?.and_then(|response| response.map);
        first.map(|map| (map, maps)).ok_or_else(|| Status::unavailable("the stream ended"))
    }

    /// Takes a map if it is newer.
    fn adopt(&self, map: &ShardMap) -> Result<(), Status> {
        let topology =
            Topology::read(map).map_err(|error| Status::failed_precondition(error.to_string()))?;
        let known = self.sender.borrow().clone();
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
        self.sender.send_replace(Some(Arc::new(topology)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_logged_at_once_and_then_now_and_then() {
        let mut outage = Outage::default();
        let mut logged = 0;
        for _ in 0..600 {
            logged += u32::from(outage.is_due());
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert_eq!(logged, 3);
    }
}
