//! Coupons over a stream of issues: each request has its own answer, and none holds up the others.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::issue_stream_response::Result as IssueResult;
use coupon_proto::v1::{IssueCouponRequest, IssueStreamRequest, IssueStreamResponse};
use coupon_router::RouterConfig;
use support::fake_cluster::FakeCluster;
use support::http2::{Ending, Http2, frame};
use support::{Fixture, REQUEST_ID, config, connect, connect_narrow, issue};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic_types::{ErrorDetails, StatusExt as _, pb};

/// A stream of a caller.
struct Caller {
    /// `None`: all was sent.
    requests: Option<mpsc::Sender<IssueStreamRequest>>,
    answers: Streaming<IssueStreamResponse>,
}

impl Caller {
    async fn open(t: &mut Fixture) -> Self {
        Self::of(&mut t.coupons).await
    }

    async fn of(coupons: &mut CouponServiceClient<tonic::transport::Channel>) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        let answers = coupons.issue_stream(ReceiverStream::new(receiver)).await;
        Self { requests: Some(requests), answers: answers.expect("it opens").into_inner() }
    }

    async fn send(&self, request: IssueStreamRequest) {
        let requests = self.requests.as_ref().expect("more is sent");
        requests.send(request).await.expect("the stream is open");
    }

    async fn ask(&self, tag: i64, recipient: &str) {
        let request = Some(issue("spring", recipient));
        self.send(IssueStreamRequest { tag, request, timeout: None }).await;
    }

    /// The next answer: its tag, and the sequence number of a coupon or a reason.
    async fn answer(&mut self) -> Option<(i64, Result<i64, String>)> {
        let answer = self.answers.message().await.expect("it does not break")?;
        let result = match answer.result.expect("every answer has one") {
            IssueResult::Response(response) => {
                Ok(response.coupon.expect("it comes along").sequence)
            }
            IssueResult::Error(status) => Err(reason(status)),
        };
        Some((answer.tag, result))
    }

    /// All answers that are still to come, once everything is sent.
    async fn rest(mut self) -> BTreeMap<i64, Result<i64, String>> {
        self.requests = None;
        self.until_end().await
    }

    /// All answers until the router ends the stream.
    async fn until_end(&mut self) -> BTreeMap<i64, Result<i64, String>> {
        let mut rest = BTreeMap::new();
        while let Some((tag, result)) = self.answer().await {
            assert_eq!(rest.insert(tag, result), None, "one answer for each tag");
        }
        rest
    }
}

fn reason(status: pb::Status) -> String {
    let code = tonic::Code::from_i32(status.code);
    let details = prost::Message::encode_to_vec(&status).into();
    let status = tonic::Status::with_details(code, status.message, details);
    let details: ErrorDetails = status.get_error_details();
    details.error_info().expect("every error has one").reason.clone()
}

#[tokio::test]
async fn each_request_has_its_own_answer_and_the_stream_ends_with_the_last_one() {
    let mut t = Fixture::start().await;
    t.create("spring", 100).await;
    let caller = Caller::open(&mut t).await;
    for tag in 0..150 {
        caller.ask(tag * 7, "").await;
    }
    let unknown = Some(issue("none", ""));
    caller.send(IssueStreamRequest { tag: -1, request: unknown, timeout: None }).await;
    caller.send(IssueStreamRequest { tag: -2, ..Default::default() }).await;
    let timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let request = Some(issue("spring", ""));
    caller.send(IssueStreamRequest { tag: -3, request, timeout }).await;
    let answers = caller.rest().await;
    assert_eq!(answers.len(), 153);
    let mut sequences: Vec<_> = answers.values().filter_map(|answer| answer.clone().ok()).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
    let sold_out = answers.values().filter(|answer| **answer == Err("SOLD_OUT".to_owned()));
    assert_eq!(sold_out.count(), 50);
    assert_eq!(answers[&-1], Err("CAMPAIGN_NOT_FOUND".to_owned()));
    assert_eq!(answers[&-2], Err("FIELD_VIOLATIONS".to_owned()));
    assert_eq!(answers[&-3], Err("FIELD_VIOLATIONS".to_owned()));
}

#[tokio::test]
async fn a_request_id_issues_one_coupon_over_any_number_of_streams() {
    let mut t = Fixture::start().await;
    t.create("spring", 100).await;
    let request = IssueCouponRequest { request_id: REQUEST_ID.to_owned(), ..issue("spring", "a") };
    let mut sequences = Vec::new();
    for _ in 0..3 {
        let caller = Caller::open(&mut t).await;
        for tag in [1, 2] {
            let request = Some(request.clone());
            caller.send(IssueStreamRequest { tag, request, timeout: None }).await;
        }
        sequences.extend(caller.rest().await.into_values().map(Result::unwrap));
    }
    assert_eq!((sequences, t.cluster.issued("spring")), (vec![1; 6], 1));
}

#[tokio::test]
async fn requests_beyond_what_the_router_works_on_are_refused_and_others_go_on() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let config = RouterConfig { requests_max: 4, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 100).await;
    t.cluster.lead(0);
    let mut caller = Caller::open(&mut t).await;
    for tag in 0..20 {
        caller.ask(tag, "").await;
    }
    for _ in 0..16 {
        let (tag, refused) = caller.answer().await.unwrap();
        assert_eq!(refused, Err("OVERLOADED".to_owned()), "request {tag}");
        assert!(tag >= 4, "the first ones wait for a leader");
    }
    t.cluster.lead(1);
    let rest = caller.rest().await;
    assert_eq!(rest.into_keys().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(t.cluster.issued("spring"), 4);
}

#[tokio::test]
async fn a_request_waits_no_longer_than_it_says() {
    let mut t = Fixture::start().await;
    t.create("spring", 100).await;
    t.cluster.lead(0);
    let mut caller = Caller::open(&mut t).await;
    caller.ask(1, "patient").await;
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    let request = Some(issue("spring", "hurried"));
    caller.send(IssueStreamRequest { tag: 2, request, timeout }).await;
    assert_eq!(caller.answer().await.unwrap(), (2, Err("NO_LEADER".to_owned())));
    t.cluster.lead(1);
    assert_eq!(caller.answer().await.unwrap(), (1, Ok(1)));
}

#[tokio::test]
async fn a_router_that_stops_answers_what_it_has_read_and_ends_its_streams() {
    let mut t = Fixture::start().await;
    t.create("spring", 100).await;
    t.cluster.lead(0);
    let mut idle = Caller::open(&mut t).await;
    let mut caller = Caller::open(&mut t).await;
    caller.ask(1, "a").await;
    t.cluster.until_refused(1).await;
    let (stopped, ()) = tokio::join!(t.router.shutdown(), async {
        assert_eq!(idle.until_end().await, BTreeMap::new());
        t.cluster.lead(1);
    });
    stopped.expect("no stream holds it up");
    assert_eq!(caller.answer().await, Some((1, Ok(1))));
    assert_eq!(caller.answer().await, None);
}

#[tokio::test]
async fn a_caller_that_takes_no_answers_holds_up_no_others() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let config = RouterConfig { requests_max: 32, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 1_000).await;
    let seen = t.cluster.seen().len();
    let caller = Caller::of(&mut CouponServiceClient::new(connect_narrow(&t.router))).await;
    // Their answers are several times what may come before it is read.
    let metadata = (0..4).map(|key| (format!("key-{key}"), "x".repeat(255))).collect();
    let large = IssueCouponRequest { metadata, ..issue("spring", "") };
    for tag in 0..200 {
        let request = Some(large.clone());
        caller.send(IssueStreamRequest { tag, request, timeout: None }).await;
        let count = seen + 1 + usize::try_from(tag).expect("it is small");
        let issued = timeout(Duration::from_secs(20), t.cluster.until_seen(count));
        issued.await.expect("it is issued although no answer is taken");
    }
    for _ in 0..5 {
        t.coupons.issue_coupon(issue("spring", "")).await.expect("there is room for it");
    }
    let answers = caller.rest().await;
    assert_eq!(answers.len(), 200);
    assert!(answers.values().all(Result::is_ok), "{answers:?}");
}

/// Asks for a coupon over a stream of its own. Returns the reason of the answer or of the end of the stream.
async fn probe(
    coupons: &mut CouponServiceClient<tonic::transport::Channel>,
    request: &IssueCouponRequest,
) -> (Ended, String) {
    let mut caller = Caller::of(coupons).await;
    let wait = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    let request = IssueStreamRequest { tag: 1, request: Some(request.clone()), timeout: wait };
    caller.send(request).await;
    match caller.answers.message().await {
        Ok(answer) => match answer.expect("it is answered").result {
            Some(IssueResult::Error(status)) => (Ended::Request, reason(status)),
            other => panic!("there is no leader: {other:?}"),
        },
        Err(status) => (Ended::Stream, support::reason(&status)),
    }
}

/// What an error ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Request,
    Stream,
}

#[tokio::test]
async fn the_streams_of_a_connection_hold_a_bounded_number_of_bytes() {
    let mut t = Fixture::start().await;
    t.create("spring", 10_000).await;
    t.cluster.lead(0);
    // Requests of about 4 KB, which count twice.
    let metadata = (0..16).map(|key| (format!("key-{key}"), "x".repeat(255))).collect();
    let large = IssueCouponRequest { metadata, ..issue("spring", "") };
    let mut callers = Vec::new();
    for _ in 0..12 {
        let mut caller = Caller::open(&mut t).await;
        let (requests, request) = (caller.requests.take().expect("nothing is sent"), large.clone());
        tokio::spawn(async move {
            let timeout = Some(prost_types::Duration { seconds: 60, nanos: 0 });
            let request = IssueStreamRequest { tag: 1, request: Some(request), timeout };
            // More than are taken, and few enough that what is not leaves room for others in the window of the connection.
            for _ in 0..300 {
                if requests.send(request.clone()).await.is_err() {
                    return;
                }
            }
            requests.closed().await;
        });
        callers.push(caller);
    }
    let (no_room, room) =
        ((Ended::Stream, "OVERLOADED".to_owned()), (Ended::Request, "NO_LEADER".to_owned()));
    let full = async { while probe(&mut t.coupons, &large).await != no_room {} };
    timeout(Duration::from_secs(20), full).await.expect("there is a bound");
    let mut other = CouponServiceClient::new(connect(&t.router));
    assert_eq!(probe(&mut other, &large).await, room, "other connections have theirs");
    drop(callers);
}

#[tokio::test]
async fn messages_that_never_end_hold_a_bounded_number_of_bytes() {
    let t = Fixture::start().await;
    let http2 = Http2::connect(&t.router).await;
    // Of the largest message, all but its last byte.
    let mut unfinished = frame(0, &[0; 64 << 10]);
    unfinished.pop();
    let mut calls = Vec::new();
    for _ in 0..300 {
        let call = http2.begin("IssueStream", &[], &[&unfinished], Ending::Never).await.unwrap();
        calls.push(Box::pin(call.answer()));
    }
    let refused = timeout(Duration::from_secs(20), futures::future::select_all(calls)).await;
    let (refused, _, _) = refused.expect("there is a bound");
    let refused = refused.unwrap().status();
    assert_eq!(support::reason(&refused), "OVERLOADED");
}
