//! The health of a node: SERVING once it may run its replicas, as long as none of them is stopped for good.

use std::collections::BTreeMap;

use coupon_cluster::ShardId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::shard::divergence::Diverged;

/// Reports the health of a node until it stops. `waiting` says why its replicas do not run yet.
pub(crate) async fn follow(
    health: HealthReporter,
    mut waiting: watch::Receiver<Option<String>>,
    mut diverged: watch::Receiver<BTreeMap<ShardId, Diverged>>,
    stopping: CancellationToken,
) {
    loop {
        let runs = waiting.borrow_and_update().is_none();
        let serves = runs && diverged.borrow_and_update().is_empty();
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status("", status).await;
        let changed = tokio::select! {
            () = stopping.cancelled() => return,
            changed = diverged.changed() => changed,
            changed = waiting.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
