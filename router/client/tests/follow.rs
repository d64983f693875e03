//! A stream that is resumed, and a router that breaks it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_client::{Client, Reason, RetryPolicy, v1};
use coupon_proto::reason::DOMAIN;
use coupon_proto::v1::event_service_server::{EventService, EventServiceServer};
use futures::stream::{self, Iter};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A policy whose pauses are short enough to wait for.
const QUICK: RetryPolicy = RetryPolicy {
    attempt_timeout: Duration::from_secs(10),
    give_up_after: Duration::from_secs(20),
    backoff_min: Duration::from_millis(1),
    backoff_max: Duration::from_millis(5),
};

/// What a router sends: revisions, each a message, and at last how the stream breaks.
type Script = Vec<Result<i64, Status>>;

/// A router that plays a script for each stream, and then goes on with the last one.
#[derive(Clone, Default)]
struct FakeRouter {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    asked: Arc<Mutex<Vec<(i64, i64)>>>,
}

impl FakeRouter {
    async fn start(scripts: impl IntoIterator<Item = Script>) -> (Self, SocketAddr) {
        let scripts = Arc::new(Mutex::new(scripts.into_iter().collect()));
        let router = Self { scripts, ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = Server::builder().add_service(EventServiceServer::new(router.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (router, address)
    }
}

#[tonic::async_trait]
impl EventService for FakeRouter {
    async fn list_events(
        &self,
        _: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    type StreamEventsStream = Iter<std::vec::IntoIter<Result<v1::StreamEventsResponse, Status>>>;

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let request = request.into_inner();
        self.asked.lock().push((request.after_revision, request.history_id));
        let mut scripts = self.scripts.lock();
        let last = if scripts.len() > 1 { None } else { scripts.front().cloned() };
        let script = last.or_else(|| scripts.pop_front()).unwrap_or_default();
        let parts = script.into_iter().map(|part| {
            let event = v1::Event { revision: part?, history_id: 9, ..v1::Event::default() };
            Ok(v1::StreamEventsResponse { events: vec![event] })
        });
        Ok(Response::new(stream::iter(parts.collect::<Vec<_>>())))
    }
}

fn broken(code: Code, reason: Reason) -> Result<i64, Status> {
    let details =
        ErrorDetails::with_error_info(reason.as_str(), DOMAIN, std::collections::HashMap::new());
    Err(Status::with_error_details(code, "no", details))
}

async fn follow(address: SocketAddr, policy: RetryPolicy) -> coupon_client::EventStream {
    let client = Client::connect([address.to_string()], policy).await.expect("it listens");
    client.stream_events(v1::StreamEventsRequest::default())
}

#[tokio::test]
async fn a_stream_goes_on_after_its_last_message_and_ends_with_a_refusal() {
    let gone = || broken(Code::Unavailable, Reason::StreamBroken);
    let scripts = [
        vec![gone()],
        vec![Ok(1), Ok(2), gone()],
        // It may also just end.
        vec![],
        vec![Ok(3)],
        vec![broken(Code::NotFound, Reason::CampaignNotFound)],
    ];
    let (router, address) = FakeRouter::start(scripts).await;
    let mut stream = follow(address, QUICK).await;
    for revision in 1..=3 {
        let events = stream.next().await.expect("it goes on");
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].revision, revision);
    }
    let ended = stream.next().await.expect_err("the campaign is gone");
    assert_eq!(ended.reason(), Some(Reason::CampaignNotFound));
    assert_eq!(*router.asked.lock(), [(0, 0), (0, 0), (2, 9), (2, 9), (3, 9)]);
}

#[tokio::test]
async fn a_stream_gives_up_when_it_is_out_of_reach_for_too_long() {
    let scripts = [vec![Ok(1)], vec![broken(Code::Unavailable, Reason::NoLeader)]];
    let (_router, address) = FakeRouter::start(scripts).await;
    let policy = RetryPolicy { give_up_after: Duration::from_millis(500), ..QUICK };
    let mut stream = follow(address, policy).await;
    stream.next().await.expect("the first event is there");
    let began = Instant::now();
    let given_up = stream.next().await.expect_err("there are no more");
    assert_eq!(given_up.reason(), Some(Reason::NoLeader));
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
}
