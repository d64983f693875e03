//! What a router knows of its cluster: the newest shard map, and whether its nodes are still those of the
//! cluster.
//!
//! A [`follower`](crate::shards::map_follower) finds it out. Losing every node changes nothing about what is known;
//! requests go on with the last map, and the shards themselves refuse what was routed by an old one.

use std::sync::Arc;

use coupon_cluster::{Epoch, NodeId};
use coupon_transport::Mismatch;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::route::topology::Topology;
use crate::shards::alarm::Alarms;
use crate::shards::confirmation::Confirmation;
use crate::shards::map_follower::Follower;
use crate::shards::pool::Pool;

/// The router's cluster is gone and others are in its place, or it was never there. Restarting the router the
/// same way changes nothing.
#[derive(Debug, Clone, Error)]
#[error(
    "this router is of cluster {cluster_id}, and other clusters have most of its nodes' addresses: \
     {found}. The router has stopped serving; start it with the addresses of the cluster that it is \
     to serve"
)]
pub struct WrongCluster {
    /// The cluster that the router belongs to.
    pub cluster_id: String,
    /// The nodes that answered at which addresses, as text.
    pub found: String,
}

/// How the router stands.
#[derive(Debug, Clone, Default)]
pub(crate) enum Service {
    /// No node of the cluster has answered yet, or for some seconds, or others answer in their place.
    #[default]
    Unavailable,
    /// A node of the cluster has answered, and no other cluster has taken the place of all nodes
    /// since.
    Available,
    /// Other clusters have most of the addresses. This state is final.
    Over(Arc<WrongCluster>),
}

/// What is known of the cluster. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    topology: watch::Receiver<Option<Arc<Topology>>>,
    service: watch::Receiver<Service>,
    outdated: Arc<Notify>,
    confirmation: Confirmation,
    alarms: Arc<Alarms>,
}

impl Directory {
    /// Starts to follow the map of the cluster given, or else of the one that the configured nodes
    /// agree on. The task ends when the last clone of the directory is dropped.
    pub(crate) fn follow(
        configured: Vec<String>,
        cluster_id: Option<String>,
        pool: Arc<Pool>,
    ) -> Self {
        let (maps, topology) = watch::channel(None);
        let (standing, service) = watch::channel(Service::default());
        let outdated = Arc::new(Notify::new());
        let confirmation = Confirmation::default();
        let alarms = Arc::new(Alarms::default());
        let follower = Follower {
            configured,
            pool,
            topology: maps,
            service: standing,
            outdated: Arc::clone(&outdated),
            confirmation: confirmation.clone(),
            alarms: Arc::clone(&alarms),
        };
        tokio::spawn(follower.run(cluster_id));
        Self { topology, service, outdated, confirmation, alarms }
    }

    /// How the router stands, now and whenever it changes.
    pub(crate) fn service(&self) -> watch::Receiver<Service> {
        self.service.clone()
    }

    /// Another node answered at the address that the map has for `node`. The call that it refused
    /// surely had no effect.
    pub(crate) fn met(&self, node: NodeId, mismatch: &Mismatch) {
        match (mismatch.foreign_cluster(), &mismatch.answerer) {
            (Some(_), Some(foreign)) => {
                let topology = self.current();
                if let Some(peer) = topology.as_ref().and_then(|topology| topology.peer(node)) {
                    self.alarms.foreign(&peer.address, foreign);
                }
            }
            // The node was replaced or has moved, and a newer map may say so.
            _ if self.alarms.refresh_is_due() => self.outdated.notify_one(),
            _ => {}
        }
    }

    /// The newest map known, if any.
    pub(crate) fn current(&self) -> Option<Arc<Topology>> {
        self.topology.borrow().clone()
    }

    /// The newest map known, waiting for the first one. `None` when there is none until `deadline`.
    pub(crate) async fn known(&self, deadline: Instant) -> Option<Arc<Topology>> {
        match self.current() {
            Some(topology) => Some(topology),
            None => self.wait(deadline, |_| true).await,
        }
    }

    /// A map that is no older than that of the meta shard at the time of the call. The meta shard is asked at most once
    /// a second, for all that wait together. `None` when it does not answer until `deadline`.
    pub(crate) async fn latest(&self, deadline: Instant) -> Option<Arc<Topology>> {
        timeout_at(deadline, self.confirmation.wait()).await.ok()?;
        self.current()
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
