//! The health of a node: `live` is SERVING as long as the process answers, the node as a whole while it can do its part.

use std::sync::Arc;
use std::time::Duration;

use coupon_proto::LIVE_SERVICE;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::node::Node;

/// Interval between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Reports the health of a node until it stops.
pub(crate) async fn follow(health: HealthReporter, node: Arc<Node>) {
    let (mut waiting, mut diverged) = (node.watch_waiting(), node.registry.watch_diverged());
    let stopping = node.stopping();
    health.set_service_status(LIVE_SERVICE, ServingStatus::Serving).await;
    let mut said = None;
    loop {
        let unfit = node.unfit();
        let status = match unfit {
            None => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        };
        health.set_service_status("", status).await;
        if said != Some(unfit) {
            match unfit {
                None => tracing::info!("the node serves"),
                Some(why) => tracing::info!(why, "the node does not serve"),
            }
            said = Some(unfit);
        }
        tokio::select! {
            () = stopping.cancelled() => break,
            _ = diverged.changed() => {}
            _ = waiting.changed() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    health.set_service_status("", ServingStatus::NotServing).await;
}
