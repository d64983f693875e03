//! Whether a node says that it is healthy: as long as none of its replicas is stopped for good.

use std::collections::BTreeMap;

use coupon_cluster::ShardId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::shard::divergence::Diverged;

/// Reports the health of a node until it stops.
pub(crate) async fn follow(
    health: HealthReporter,
    mut diverged: watch::Receiver<BTreeMap<ShardId, Diverged>>,
    stopping: CancellationToken,
) {
    loop {
        let is_whole = diverged.borrow_and_update().is_empty();
        let status = if is_whole { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status("", status).await;
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = diverged.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
