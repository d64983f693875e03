//! The connections to a router, from the first to the last.

mod support;

use std::time::Duration;

use coupon_router::{RouterConfig, RouterError};
use prost::Message as _;
use support::fake_cluster::FakeCluster;
use support::http2::{Call, Ending, Http2, frame};
use support::{Fixture, config, issue};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

/// Timeout for any wait in a test.
const PATIENCE: Duration = Duration::from_secs(20);

async fn begin(http2: &Http2) -> Result<Call, h2::Error> {
    let request = frame(0, &issue("spring", "a").encode_to_vec());
    http2.begin("IssueCoupon", &[], &[&request], Ending::Data).await
}

/// Waits until the router takes no more calls on a connection.
async fn until_closed(http2: &Http2) {
    let closed = async {
        while begin(http2).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("no more calls are taken");
}

#[tokio::test]
async fn a_connection_takes_as_many_calls_as_a_client_in_bulk_makes() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let http2 = Http2::connect(&t.router).await;
    begin(&http2).await.unwrap().answer().await.unwrap();
    assert_eq!(http2.calls_max(), 4_096);
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_lets_calls_finish() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let (idle, busy) = (Http2::connect(&t.router).await, Http2::connect(&t.router).await);
    begin(&idle).await.unwrap().answer().await.unwrap();
    t.cluster.lead(0);
    let call = begin(&busy).await.unwrap();
    t.cluster.until_refused(1).await;
    let address = t.router.local_addr();
    let (stopped, answered) = tokio::join!(t.router.shutdown(), async {
        // New calls are refused first, on every connection.
        until_closed(&idle).await;
        assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
        t.cluster.lead(2);
        call.answer().await
    });
    stopped.unwrap();
    assert_eq!(answered.unwrap().status().code(), Code::Ok);
}

#[tokio::test]
async fn a_shutdown_whose_grace_is_over_closes_connections_with_calls_under_way() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let config = RouterConfig { shutdown_grace: Duration::from_millis(50), ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 10).await;
    let http2 = Http2::connect(&t.router).await;
    t.cluster.lead(0);
    let call = begin(&http2).await.unwrap();
    t.cluster.until_refused(1).await;
    assert!(matches!(t.router.shutdown().await, Err(RouterError::CutOff)));
    assert!(call.answer().await.is_err(), "its connection is closed");
}

#[tokio::test]
async fn a_router_whose_handle_is_dropped_lets_calls_finish() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let http2 = Http2::connect(&t.router).await;
    t.cluster.lead(0);
    let call = begin(&http2).await.unwrap();
    t.cluster.until_refused(1).await;
    drop(t.router);
    until_closed(&http2).await;
    t.cluster.lead(2);
    assert_eq!(call.answer().await.unwrap().status().code(), Code::Ok);
}
