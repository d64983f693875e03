//! What the services share: the directory, the connections, and the stream of each shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_cluster::ShardId;
use coupon_env::{Clock, entropy};
use coupon_proto::internal::CouponIssued;
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::retry::{Timing, Unanswered};
use crate::route::topology::Topology;
use crate::shards::directory::Directory;
use crate::shards::pool::Pool;
use crate::shards::stream::{self, ShardHandle, StreamContext};

/// The way to the shards.
#[derive(Debug)]
pub(crate) struct ShardClient {
    context: StreamContext,
    shards: RwLock<BTreeMap<ShardId, ShardHandle>>,
    clock: Arc<dyn Clock>,
}

impl ShardClient {
    /// The way to the shards of a cluster: the one given, or else the one that the nodes agree on.
    pub(crate) fn new(
        nodes: Vec<String>,
        cluster_id: Option<String>,
        timing: Timing,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let pool = Arc::new(Pool::default());
        let directory = Directory::follow(nodes, cluster_id, Arc::clone(&pool));
        let context = StreamContext { router_id: entropy::number(), directory, pool, timing };
        Self { context, shards: RwLock::default(), clock }
    }

    /// The watched shard map.
    pub(crate) fn directory(&self) -> &Directory {
        &self.context.directory
    }

    /// The connections.
    pub(crate) fn pool(&self) -> &Pool {
        &self.context.pool
    }

    /// How long single steps may take.
    pub(crate) fn timing(&self) -> &Timing {
        &self.context.timing
    }

    /// The time of day: microseconds since 1970. Nothing is decided or shown by it: nodes are told when a caller stops
    /// waiting.
    pub(super) fn now_micros(&self) -> u64 {
        self.clock.now_micros()
    }

    /// The stream of a shard, started when first used. There are at most as many as shard ids.
    pub(crate) fn shard(&self, shard: ShardId) -> ShardHandle {
        if let Some(handle) = self.shards.read().get(&shard) {
            return handle.clone();
        }
        let mut shards = self.shards.write();
        let start = || stream::spawn(shard, self.context.clone());
        shards.entry(shard).or_insert_with(start).clone()
    }

    /// The newest map known, waiting for the first one.
    ///
    /// # Errors
    /// No leader, when there is no map until `deadline`.
    pub(crate) async fn topology(&self, deadline: Instant) -> Result<Arc<Topology>, Fault> {
        let known = self.directory().known(deadline).await;
        known.ok_or(Fault::Unanswered(Unanswered::NoLeader))
    }

    /// A map that is no older than that of the meta shard at the time of the call; see [`Directory::latest`].
    ///
    /// # Errors
    /// No leader, when the meta shard does not answer until `deadline`.
    pub(crate) async fn latest_topology(&self, deadline: Instant) -> Result<Arc<Topology>, Fault> {
        let latest = self.directory().latest(deadline).await;
        latest.ok_or(Fault::Unanswered(Unanswered::NoLeader))
    }

    /// A map that has the keys of these coupons, waiting for a newer one where it has not. `None` when
    /// there is no such map until `deadline`.
    pub(crate) async fn with_keys(
        &self,
        mut topology: Arc<Topology>,
        coupons: impl Iterator<Item = &CouponIssued> + Clone,
        deadline: Instant,
    ) -> Option<Arc<Topology>> {
        while !coupons.clone().all(|coupon| convert::has_key(coupon, &topology)) {
            topology = self.directory().newer(topology.version(), deadline).await?;
        }
        Some(topology)
    }
}
