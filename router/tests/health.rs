//! What health says of a router that loses its nodes.

mod support;

use std::time::Duration;

use coupon_proto::LIVE_SERVICE;
use support::fake_cluster::FakeCluster;
use support::{Fixture, config};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Timeout for a change of health.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_router_without_nodes_lives_and_does_not_serve() {
    let nodes = Runtime::new().unwrap();
    let cluster = nodes.spawn(FakeCluster::start(3, &[1])).await.unwrap();
    let config = config(&cluster);
    let t = Fixture::with(cluster, config).await;
    let mut health = HealthClient::new(t.channel.clone());
    let watching = health.watch(HealthCheckRequest::default());
    let mut watched = watching.await.unwrap().into_inner();
    let mut until = async |wanted: ServingStatus| {
        let seen =
            async { while watched.message().await.unwrap().unwrap().status != wanted as i32 {} };
        timeout(PATIENCE, seen).await.expect("health changes");
    };
    until(ServingStatus::Serving).await;
    // Their connections close and their addresses refuse new ones.
    nodes.shutdown_background();
    until(ServingStatus::NotServing).await;
    let live = HealthCheckRequest { service: LIVE_SERVICE.to_owned() };
    let lives = HealthClient::new(t.channel.clone()).check(live).await.unwrap().into_inner();
    assert_eq!(lives.status, ServingStatus::Serving as i32);
}
