//! A client and a router that does not always answer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_client::{CallError, Client, ConnectError, Issued, Meaning, Reason, RetryPolicy, v1};
use coupon_proto::reason::DOMAIN;
use coupon_proto::v1::batch_issue_coupons_result::Result as ItemResult;
use coupon_proto::v1::coupon_service_server::{CouponService, CouponServiceServer};
use coupon_proto::v1::issue_stream_response::Result as StreamResult;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream, Iter};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A policy whose pauses are short enough to wait for.
const QUICK: RetryPolicy = RetryPolicy {
    attempt_timeout: Duration::from_secs(10),
    give_up_after: Duration::from_secs(20),
    backoff_min: Duration::from_millis(1),
    backoff_max: Duration::from_millis(5),
};

/// What a router does with a request.
#[derive(Clone, Debug)]
enum Act {
    Answer,
    Refuse(Status),
    /// Never answers.
    Hang,
}

/// A router that follows a script, and then goes on with its last act.
#[derive(Clone, Default)]
struct FakeRouter {
    script: Arc<Mutex<VecDeque<Act>>>,
    request_ids: Arc<Mutex<Vec<String>>>,
}

impl FakeRouter {
    /// Serves on a free port.
    async fn start(script: impl IntoIterator<Item = Act>) -> (Self, SocketAddr) {
        let router =
            Self { script: Arc::new(Mutex::new(script.into_iter().collect())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = Server::builder().add_service(CouponServiceServer::new(router.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (router, address)
    }

    /// The request ids of all attempts.
    fn request_ids(&self) -> Vec<String> {
        self.request_ids.lock().clone()
    }

    async fn act(
        &self,
        request: v1::IssueCouponRequest,
    ) -> Result<v1::IssueCouponResponse, Status> {
        self.request_ids.lock().push(request.request_id.clone());
        let act = {
            let mut script = self.script.lock();
            let last = if script.len() > 1 { None } else { script.front().cloned() };
            last.or_else(|| script.pop_front()).unwrap_or(Act::Answer)
        };
        match act {
            Act::Answer => {
                let request_id = request.request_id;
                let coupon = Some(v1::Coupon { request_id, ..v1::Coupon::default() });
                Ok(v1::IssueCouponResponse { coupon, replayed: false })
            }
            Act::Refuse(status) => Err(status),
            Act::Hang => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl CouponService for FakeRouter {
    async fn issue_coupon(
        &self,
        request: Request<v1::IssueCouponRequest>,
    ) -> Result<Response<v1::IssueCouponResponse>, Status> {
        self.act(request.into_inner()).await.map(Response::new)
    }

    async fn batch_issue_coupons(
        &self,
        request: Request<v1::BatchIssueCouponsRequest>,
    ) -> Result<Response<v1::BatchIssueCouponsResponse>, Status> {
        let mut results = Vec::new();
        for request in request.into_inner().requests {
            let result = match self.act(request).await {
                Ok(response) => ItemResult::Response(response),
                Err(status) => {
                    let decoded = prost::Message::decode(status.details());
                    ItemResult::Error(decoded.expect("the script encoded it"))
                }
            };
            results.push(v1::BatchIssueCouponsResult { result: Some(result) });
        }
        Ok(Response::new(v1::BatchIssueCouponsResponse { results }))
    }

    type IssueStreamStream = BoxStream<'static, Result<v1::IssueStreamResponse, Status>>;

    /// A refusal with the message of [`broken`] ends the stream.
    async fn issue_stream(
        &self,
        request: Request<Streaming<v1::IssueStreamRequest>>,
    ) -> Result<Response<Self::IssueStreamStream>, Status> {
        let router = self.clone();
        let answers = request.into_inner().then(move |request| {
            let router = router.clone();
            async move {
                let v1::IssueStreamRequest { tag, request, .. } = request?;
                let result = match router.act(request.unwrap_or_default()).await {
                    Ok(response) => StreamResult::Response(response),
                    Err(status) if status.message() == broken().message() => return Err(status),
                    Err(status) => {
                        let decoded = prost::Message::decode(status.details());
                        StreamResult::Error(decoded.expect("the script encoded it"))
                    }
                };
                Ok(v1::IssueStreamResponse { tag, result: Some(result) })
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn redeem_coupon(
        &self,
        _: Request<v1::RedeemCouponRequest>,
    ) -> Result<Response<v1::RedeemCouponResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn reverse_redemption(
        &self,
        _: Request<v1::ReverseRedemptionRequest>,
    ) -> Result<Response<v1::ReverseRedemptionResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn hold_coupon(
        &self,
        _: Request<v1::HoldCouponRequest>,
    ) -> Result<Response<v1::HoldCouponResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn confirm_hold(
        &self,
        _: Request<v1::ConfirmHoldRequest>,
    ) -> Result<Response<v1::ConfirmHoldResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn release_hold(
        &self,
        _: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn void_coupon(
        &self,
        _: Request<v1::VoidCouponRequest>,
    ) -> Result<Response<v1::VoidCouponResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn validate_coupon(
        &self,
        _: Request<v1::ValidateCouponRequest>,
    ) -> Result<Response<v1::ValidateCouponResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn get_coupon(
        &self,
        _: Request<v1::GetCouponRequest>,
    ) -> Result<Response<v1::GetCouponResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn lookup_coupon(
        &self,
        _: Request<v1::LookupCouponRequest>,
    ) -> Result<Response<v1::LookupCouponResponse>, Status> {
        Err(Status::unimplemented("these tests do not ask"))
    }

    async fn list_coupons(
        &self,
        _: Request<v1::ListCouponsRequest>,
    ) -> Result<Response<v1::ListCouponsResponse>, Status> {
        Err(Status::unimplemented("these tests do not list"))
    }

    type StreamCouponsStream = Iter<std::vec::IntoIter<Result<v1::StreamCouponsResponse, Status>>>;

    /// Sends four parts of a coupon each, resumed where the token says, and breaks as often as the script refuses.
    async fn stream_coupons(
        &self,
        request: Request<v1::StreamCouponsRequest>,
    ) -> Result<Response<Self::StreamCouponsStream>, Status> {
        let sent: i64 = request.get_ref().resume_token.parse().unwrap_or(0);
        let mut parts = Vec::new();
        for sequence in sent + 1..=4 {
            let token = if sequence < 4 { sequence.to_string() } else { String::new() };
            let part = v1::StreamCouponsResponse {
                coupons: vec![v1::Coupon { sequence, ..v1::Coupon::default() }],
                revision: 1,
                resume_token: token,
                coupon_count: 4,
            };
            let part = self.act(v1::IssueCouponRequest::default()).await.map(|_| part);
            let is_broken = part.is_err();
            parts.push(part);
            if is_broken {
                break;
            }
        }
        Ok(Response::new(stream::iter(parts)))
    }
}

/// The end of a stream.
fn broken() -> Status {
    Status::unavailable("broken")
}

fn refusal(code: Code, reason: Reason, retry_after: Option<Duration>) -> Act {
    let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new());
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Act::Refuse(Status::with_error_details(code, "no", details))
}

fn request() -> v1::IssueCouponRequest {
    v1::IssueCouponRequest { campaign_id: "spring".into(), ..v1::IssueCouponRequest::default() }
}

async fn client(router: SocketAddr, policy: RetryPolicy) -> Client {
    Client::connect([router.to_string()], policy).await.expect("the router listens")
}

#[tokio::test]
async fn every_attempt_has_the_same_request_id() {
    let unknown = refusal(Code::Unavailable, Reason::OutcomeUnknown, None);
    let no_leader = refusal(Code::Unavailable, Reason::NoLeader, None);
    let broken = Act::Refuse(Status::unavailable("broken"));
    let (router, address) = FakeRouter::start([unknown, no_leader, broken, Act::Answer]).await;
    let client = client(address, QUICK).await;
    let answer = client.issue_coupon(request()).await.unwrap();
    let ids = router.request_ids();
    assert_eq!(ids, vec![answer.coupon.unwrap().request_id; 4]);
    assert_eq!(ids[0].len(), 36, "a UUID");
    client.issue_coupon(request()).await.unwrap();
    assert_ne!(router.request_ids()[4], ids[0], "another call has another id");
    let given = v1::IssueCouponRequest { request_id: "given".into(), ..request() };
    client.issue_coupon(given).await.unwrap();
    assert_eq!(router.request_ids()[5], "given");
}

#[tokio::test]
async fn a_call_that_gets_no_answer_is_unknown() {
    let (router, address) = FakeRouter::start([Act::Hang]).await;
    let policy = RetryPolicy {
        attempt_timeout: Duration::from_millis(100),
        give_up_after: Duration::from_millis(500),
        ..QUICK
    };
    let began = Instant::now();
    let error = client(address, policy).await.issue_coupon(request()).await.unwrap_err();
    assert_eq!(error.meaning(), Meaning::Unknown);
    assert!(error.may_have_happened());
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    let ids = router.request_ids();
    assert!(ids.len() > 1 && error.attempts() > 1, "{ids:?}");
    assert!(ids.iter().all(|id| Some(id.as_str()) == error.request_id()), "{ids:?}");
}

#[tokio::test]
async fn a_lost_answer_makes_a_later_denial_unknown() {
    let no_leader = refusal(Code::Unavailable, Reason::NoLeader, None);
    let policy = RetryPolicy { give_up_after: Duration::from_millis(300), ..QUICK };
    let lost = Act::Refuse(Status::unavailable("broken"));
    for (script, meaning) in [
        (vec![lost, no_leader.clone()], Meaning::Unknown),
        (vec![no_leader], Meaning::RetryUnchanged),
    ] {
        let (_, address) = FakeRouter::start(script).await;
        let error = client(address, policy).await.issue_coupon(request()).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::NoLeader));
        assert_eq!(error.meaning(), meaning);
    }
}

#[tokio::test]
async fn refusals_are_not_repeated() {
    for (code, reason) in [
        (Code::FailedPrecondition, Reason::SoldOut),
        (Code::FailedPrecondition, Reason::NotStarted),
        (Code::NotFound, Reason::CampaignNotFound),
        (Code::Internal, Reason::Internal),
    ] {
        let (router, address) = FakeRouter::start([refusal(code, reason, None)]).await;
        let error = client(address, QUICK).await.issue_coupon(request()).await.unwrap_err();
        assert_eq!((error.reason(), error.attempts()), (Some(reason), 1));
        assert_eq!(router.request_ids().len(), 1);
    }
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let delay = Duration::from_millis(200);
    let overloaded = refusal(Code::Unavailable, Reason::Overloaded, Some(delay));
    let (_, address) = FakeRouter::start([overloaded, Act::Answer]).await;
    let began = Instant::now();
    client(address, QUICK).await.issue_coupon(request()).await.unwrap();
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    // A call that has not that much time ends at once.
    let later = refusal(Code::Unavailable, Reason::Overloaded, Some(Duration::from_secs(60)));
    let (router, address) = FakeRouter::start([later]).await;
    let error = client(address, QUICK).await.issue_coupon(request()).await.unwrap_err();
    assert_eq!((error.reason(), router.request_ids().len()), (Some(Reason::Overloaded), 1));
}

#[tokio::test]
async fn a_router_that_does_not_answer_is_gone_around() {
    let (silent, silent_address) = FakeRouter::start([Act::Hang]).await;
    let (router, address) = FakeRouter::start([Act::Answer]).await;
    let policy = RetryPolicy { attempt_timeout: Duration::from_millis(300), ..QUICK };
    // It is not known with which one it begins.
    let routers = [format!("http://{silent_address}"), address.to_string()];
    let client = Client::connect(routers, policy).await.unwrap();
    for _ in 0..5 {
        client.issue_coupon(request()).await.unwrap();
    }
    assert_eq!(router.request_ids().len(), 5);
    assert!(silent.request_ids().len() <= 1, "the one that answers is called again");
}

#[tokio::test]
async fn one_router_that_is_up_will_do() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_address = gone.local_addr().unwrap().to_string();
    drop(gone);
    let (_, address) = FakeRouter::start([Act::Answer]).await;
    let client = Client::connect([&gone_address, &address.to_string()], QUICK).await.unwrap();
    client.issue_coupon(request()).await.unwrap();
    let nobody = Client::connect([&gone_address], QUICK).await;
    assert!(matches!(nobody, Err(ConnectError::Connect { .. })), "{nobody:?}");
    let none = Client::connect([""; 0], QUICK).await;
    assert!(matches!(none, Err(ConnectError::NoRouter)), "{none:?}");
    let wrong = Client::connect(["nowhere"], QUICK).await;
    assert!(matches!(wrong, Err(ConnectError::Address(_))), "{wrong:?}");
}

#[tokio::test]
async fn only_the_open_requests_of_a_batch_are_sent_again() {
    let no_leader = refusal(Code::Unavailable, Reason::NoLeader, None);
    let sold_out = refusal(Code::FailedPrecondition, Reason::SoldOut, None);
    let (router, address) =
        FakeRouter::start([Act::Answer, no_leader, sold_out, Act::Answer]).await;
    let requests =
        ["a", "b", "c"].map(|id| v1::IssueCouponRequest { request_id: id.to_owned(), ..request() });
    let client = client(address, QUICK).await;
    let answers = client.batch_issue_coupons(requests.into()).await;
    let reasons: Vec<Option<Reason>> =
        answers.iter().map(|answer| answer.as_ref().err().and_then(CallError::reason)).collect();
    assert_eq!(reasons, [None, None, Some(Reason::SoldOut)]);
    assert_eq!(router.request_ids(), ["a", "b", "c", "b"]);
    let answers = client.batch_issue_coupons(vec![request(); 3]).await;
    let ids: HashSet<String> = router.request_ids().split_off(4).into_iter().collect();
    assert_eq!((answers.len(), ids.len()), (3, 3), "each request got an id of its own");
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed_where_it_broke() {
    let broken = || refusal(Code::Unavailable, Reason::StreamBroken, None);
    let script = [broken(), Act::Answer, Act::Answer, broken(), Act::Answer, broken(), Act::Answer];
    let (_, address) = FakeRouter::start(script).await;
    let client = client(address, QUICK).await;
    let request = v1::StreamCouponsRequest { campaign_id: "spring".into(), ..Default::default() };
    let mut parts = client.stream_coupons(request);
    let mut sequences = Vec::new();
    while let Some(part) = parts.next().await.unwrap() {
        sequences.extend(part.coupons.into_iter().map(|coupon| coupon.sequence));
    }
    assert_eq!(sequences, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stream_whose_revision_is_gone_is_not_joined_to_another_one() {
    let broken = refusal(Code::Unavailable, Reason::StreamBroken, None);
    let gone = refusal(Code::Aborted, Reason::RevisionGone, None);
    let (_, address) = FakeRouter::start([Act::Answer, broken, gone]).await;
    let client = client(address, QUICK).await;
    let mut parts = client.stream_coupons(v1::StreamCouponsRequest::default());
    assert!(parts.next().await.unwrap().is_some());
    assert_eq!(parts.next().await.unwrap_err().reason(), Some(Reason::RevisionGone));
}

#[tokio::test]
async fn what_a_broken_stream_has_not_answered_is_asked_again_with_the_same_id() {
    let no_leader = refusal(Code::Unavailable, Reason::NoLeader, None);
    let script = [Act::Answer, Act::Refuse(broken()), no_leader, Act::Answer];
    let (router, address) = FakeRouter::start(script).await;
    let client = client(address, QUICK).await;
    let requests: Vec<_> = (0..4)
        .map(|number| v1::IssueCouponRequest {
            request_id: format!("id-{number}"),
            ..v1::IssueCouponRequest::default()
        })
        .collect();
    let issued: Vec<_> = client.issue_stream(stream::iter(requests), 2).collect().await;
    let mut ids: Vec<_> = issued.iter().map(|issued| issued.request.request_id.clone()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["id-0", "id-1", "id-2", "id-3"]);
    for Issued { request, answer } in issued {
        let coupon = answer.unwrap().coupon.unwrap();
        assert_eq!(coupon.request_id, request.request_id, "each has its own answer");
    }
    let asked = router.request_ids();
    assert!(asked.len() >= 6, "one for the break and one for the refusal: {asked:?}");
}

#[tokio::test]
async fn a_refusal_over_a_stream_is_that_of_its_request() {
    let sold_out = refusal(Code::FailedPrecondition, Reason::SoldOut, None);
    let (_, address) = FakeRouter::start([Act::Answer, sold_out]).await;
    let client = client(address, QUICK).await;
    let issued: Vec<_> =
        client.issue_stream(stream::iter([request(), request()]), 1).collect().await;
    assert!(issued[0].answer.is_ok());
    let refused = issued[1].answer.as_ref().unwrap_err();
    assert_eq!((refused.reason(), refused.may_have_happened()), (Some(Reason::SoldOut), false));
    assert!(!issued[1].request.request_id.is_empty(), "it got an id");
}
