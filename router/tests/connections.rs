//! The connections to a router, from the first to the last.

mod support;

use std::time::{Duration, Instant};

use coupon_router::{RouterConfig, RouterError};
use prost::Message as _;
use support::fake_cluster::FakeCluster;
use support::http2::{Call, Ending, Http2, frame};
use support::{Fixture, config, connect, issue, reason};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

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

#[tokio::test]
async fn what_never_ends_does_not_hold_up_a_stop() {
    let t = Fixture::start().await;
    let address = t.router.local_addr();
    let health = HealthCheckRequest::default();
    let watched = HealthClient::new(connect(&t.router)).watch(health).await.unwrap();
    let asked = tokio_stream::pending::<ServerReflectionRequest>();
    let mut reflection = ServerReflectionClient::new(connect(&t.router));
    let reflected = reflection.server_reflection_info(asked).await.unwrap();
    let silent = TcpStream::connect(address).await.unwrap();
    // It has begun, and reads nothing.
    let mut frozen = TcpStream::connect(address).await.unwrap();
    frozen.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let began = Instant::now();
    t.router.shutdown().await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    drop((watched, reflected, silent, frozen));
}

#[tokio::test]
async fn a_router_that_stops_says_so_before_it_refuses_calls() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let lame_duck = Duration::from_secs(2);
    let config = RouterConfig { lame_duck, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 10).await;
    let mut health = HealthClient::new(t.channel.clone());
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut coupons = t.coupons.clone();
    let stopping = tokio::spawn(t.router.shutdown());
    let not_serving = ServingStatus::NotServing as i32;
    while watched.message().await.unwrap().unwrap().status != not_serving {}
    coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    stopping.await.unwrap().unwrap();
    assert!(coupons.issue_coupon(issue("spring", "b")).await.is_err(), "it has stopped");
}

#[tokio::test]
async fn old_connections_are_closed_when_their_calls_are_answered() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let connection_age_max = Duration::from_millis(200);
    let config = RouterConfig { connection_age_max, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 10).await;
    let http2 = Http2::connect(&t.router).await;
    t.cluster.lead(0);
    let call = begin(&http2).await.unwrap();
    t.cluster.until_refused(1).await;
    until_closed(&http2).await;
    t.cluster.lead(1);
    assert_eq!(call.answer().await.unwrap().status().code(), Code::Ok);
    // A client that opens another one goes on.
    t.coupons.issue_coupon(issue("spring", "b")).await.unwrap();
}

/// Of the largest batch, all but its last byte.
const UNFINISHED_BYTES: usize = (2 << 20) - 1;

#[tokio::test]
async fn requests_that_never_end_hold_a_bounded_number_of_bytes() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let http2 = Http2::connect(&t.router).await;
    let mut unfinished = frame(0, &vec![0; UNFINISHED_BYTES + 1]);
    unfinished.truncate(UNFINISHED_BYTES);
    let mut calls = Vec::new();
    for _ in 0..16 {
        let begun = http2.begin("BatchIssueCoupons", &[], &[&unfinished], Ending::Never).await;
        calls.push(begun.unwrap().answer());
    }
    // Eight batches are held; further ones are refused, and so release what they have sent.
    let (refused, _, _) = futures::future::select_all(calls.into_iter().map(Box::pin)).await;
    let refused = refused.unwrap().status();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "OVERLOADED".to_owned()));
    // Nobody else is troubled, not even on the same connection.
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    assert_eq!(begin(&http2).await.unwrap().answer().await.unwrap().status().code(), Code::Ok);
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused_with_a_reason() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let http2 = Http2::connect(&t.router).await;
    t.cluster.lead(0);
    let neighbour = begin(&http2).await.unwrap();
    t.cluster.until_refused(1).await;
    let request = frame(0, &issue("spring", "a").encode_to_vec());
    for kilobytes in [17, 40, 200] {
        let much = "x".repeat(kilobytes * 1_000);
        let headers = [("much", much.as_str())];
        let call = http2.begin("IssueCoupon", &headers, &[&request], Ending::Data).await.unwrap();
        let refused = call.answer().await.unwrap().status();
        assert_eq!(refused.code(), Code::InvalidArgument, "{kilobytes} KB");
        assert_eq!(reason(&refused), "FIELD_VIOLATIONS", "{kilobytes} KB");
    }
    t.cluster.lead(2);
    assert_eq!(neighbour.answer().await.unwrap().status().code(), Code::Ok);
}
