//! Dispatches requests: pages to `pages`, protocols other than gRPC to the translator, which hands back gRPC calls.
//! `IssueCoupon`, the busiest method, has a fast path; all other calls take tonic's routes.

use std::convert::Infallible;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use coupon_protocols::{Translator, is_grpc};
use coupon_trace::{Stage, Subject, Tag, mark};
use futures::FutureExt as _;
use futures::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{BoxError, ServiceExt as _};

use super::admission::{Admission, InTime, is_governed};
use super::incomplete::{Arrives, Arriving, Part};
use super::malformed::{self, REQUEST_BYTES_MAX, request_bytes_max};
use super::pages::Page;
use super::unary::{self, AnswerBody};
use crate::answer::error::Fault;
use crate::op::issue_coupon;
use crate::op::limits::{Client, Deadline};
use crate::op::memory::RequestMemory;
use crate::shards::shard_client::ShardClient;

/// The method with the fast path.
const ISSUE: &str = "/coupon.v1.CouponService/IssueCoupon";

/// Answers the requests of all connections. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    admission: Admission,
    shards: Arc<ShardClient>,
    routes: Routes,
    translator: Translator,
    memory: RequestMemory,
    connection: Tag,
    client: Option<Client>,
}

impl Dispatch {
    /// Lets requests in by `admission`; `routes` has the services of all methods, and `translator` knows them.
    pub(super) fn new(
        admission: Admission,
        shards: Arc<ShardClient>,
        routes: Routes,
        translator: Translator,
    ) -> Self {
        Self {
            admission,
            shards,
            routes: routes.prepare(),
            translator,
            memory: RequestMemory::default(),
            connection: Tag::default(),
            client: None,
        }
    }

    /// The same for the requests of one connection, which marks know by its socket.
    pub(super) fn on_connection(self, socket: &TcpStream) -> Self {
        let client = socket.peer_addr().ok().map(|address| Client(address.ip()));
        let (memory, connection) = (self.memory.of_connection(), socket.as_raw_fd().unsigned_abs());
        Self { memory, connection: connection.into(), client, ..self }
    }

    /// The answer to a request.
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
        let path = request.uri().path();
        let is_stream = path != ISSUE && self.translator.takes_stream(path);
        let arrives = if is_stream { Arrives::InParts(Part::default()) } else { Arrives::Once };
        let is_counted = malformed::must_be_counted(path);
        let too_large = malformed::header_fault(&request);
        let request = request.map(|body| Arriving::new(body, arrives, self.memory.occupy()));
        if is_grpc(&request) && (!is_counted || too_large.is_some()) {
            Either::Left(self.call(request, too_large))
        } else {
            let request = request.map(Body::new);
            Either::Right(self.clone().translate(request, too_large.is_some()).boxed())
        }
        .map(Ok)
    }

    /// The answer to a request that is no plain gRPC call, or one whose items must be counted.
    async fn translate(self, request: Request<Body>, is_too_large: bool) -> Response<AnswerBody> {
        let answer = match Page::asked_for(&request) {
            _ if is_too_large => malformed::headers_too_large(),
            Some(page) => page.answer(self.routes).await,
            None => {
                let call = async |request| self.call(request, None).await.map(Body::new);
                self.translator.answer(request, call).await
            }
        };
        answer.map(AnswerBody::Routed)
    }

    /// The answer to a gRPC call, whose headers may be too large.
    fn call<B>(
        &self,
        request: Request<B>,
        too_large: Option<Fault>,
    ) -> impl Future<Output = Response<AnswerBody>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let admitted = match too_large.map_or_else(|| self.admission.admit(&request), Err) {
            Ok(admitted) => admitted,
            Err(fault) => return Answering::Refused { fault: Some(fault) },
        };
        let deadline = admitted.deadline();
        let (request_deadline, connection) = (deadline.0.into_std().into(), self.connection);
        mark(
            Stage::Admitted,
            Subject::RequestOnConnection { deadline: request_deadline, connection },
        );
        if takes_fast_path(&request) {
            let issued = issue(Arc::clone(&self.shards), request.into_body(), deadline);
            Answering::Issued { answer: admitted.in_time(issued) }
        } else {
            let caller = Caller { client: self.client, memory: self.memory.clone() };
            let routed = route(self.routes.clone(), request, deadline, caller);
            Answering::Routed { answer: admitted.in_time(routed) }
        }
    }
}

/// Whether a call may take the fast path; one that says how it is not compressed may not.
fn takes_fast_path<B>(request: &Request<B>) -> bool {
    request.uri().path() == ISSUE && !request.headers().contains_key("grpc-encoding")
}

/// Issues a coupon.
async fn issue<B>(shards: Arc<ShardClient>, body: B, deadline: Deadline) -> Response<AnswerBody>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let issued = match unary::read(body, REQUEST_BYTES_MAX).await {
        Ok(request) => {
            mark(Stage::Decoded, subject(deadline));
            issue_coupon(&shards, request, deadline.0).await.map_err(Fault::into_status)
        }
        Err(status) => Err(status),
    };
    let answer = match issued {
        Ok(message) => unary::answer(&message),
        Err(status) => status.into_http(),
    };
    mark(Stage::Answered, subject(deadline));
    answer
}

/// A request as a subject of marks.
fn subject(deadline: Deadline) -> Subject {
    Subject::Request { deadline: deadline.0.into_std().into() }
}

/// What methods are told of the connection that a request came on.
struct Caller {
    client: Option<Client>,
    memory: RequestMemory,
}

/// Lets the framework answer.
async fn route<B>(
    routes: Routes,
    request: Request<B>,
    deadline: Deadline,
    caller: Caller,
) -> Response<AnswerBody>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let path = request.uri().path();
    let ours = is_governed(path).then(|| request_bytes_max(path));
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(deadline);
    request.extensions_mut().insert(caller.memory);
    if let Some(client) = caller.client {
        request.extensions_mut().insert(client);
    }
    let Ok(answer) = routes.oneshot(request).await;
    let answer = match ours {
        Some(bytes_max) => malformed::explain(answer, bytes_max),
        None => answer,
    };
    answer.map(AnswerBody::Routed)
}

pin_project! {
    /// The answer to a call.
    #[project = AnsweringProjection]
    enum Answering<I, R> {
        /// It was not let in.
        Refused { fault: Option<Fault> },
        /// It goes the fast path.
        Issued { #[pin] answer: InTime<I> },
        /// It goes through the framework.
        Routed { #[pin] answer: InTime<R> },
    }
}

impl<I, R> Future for Answering<I, R>
where
    I: Future<Output = Response<AnswerBody>>,
    R: Future<Output = Response<AnswerBody>>,
{
    type Output = Response<AnswerBody>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringProjection::Refused { fault } => {
                let fault = fault.take().expect("a future is polled until it is ready");
                Poll::Ready(fault.into_status().into_http())
            }
            AnsweringProjection::Issued { answer } => answer.poll(context),
            AnsweringProjection::Routed { answer } => answer.poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_call_of_the_one_method_goes_the_fast_path() {
        let call = || Request::post(ISSUE);
        let takes_fast_path =
            |request: http::request::Builder| takes_fast_path(&request.body(()).unwrap());
        assert!(takes_fast_path(call()));
        let others = [
            call().uri("/coupon.v1.CouponService/BatchIssueCoupons"),
            call().header("grpc-encoding", "identity"),
        ];
        for other in others {
            assert!(!takes_fast_path(other));
        }
    }
}
