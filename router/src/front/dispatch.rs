//! Dispatches requests: a fast path for `IssueCoupon`, the method that crowds call, and tonic's routes for all
//! others.

use std::convert::Infallible;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use coupon_trace::{Stage, Subject, Tag, mark};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::admission::{Admission, InTime, is_governed};
use super::malformed::{self, REQUEST_BYTES_MAX, request_bytes_max};
use super::unary::{self, AnswerBody};
use crate::answer::error::Fault;
use crate::op::issue_coupon;
use crate::op::limits::Deadline;
use crate::shards::shard_client::ShardClient;

/// The method with the fast path.
const ISSUE: &str = "/coupon.v1.CouponService/IssueCoupon";

/// Answers the requests of all connections. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    admission: Admission,
    shards: Arc<ShardClient>,
    routes: Routes,
    connection: Tag,
}

impl Dispatch {
    /// Lets requests in by `admission`; `routes` has the services of all methods.
    pub(super) fn new(admission: Admission, shards: Arc<ShardClient>, routes: Routes) -> Self {
        Self { admission, shards, routes: routes.prepare(), connection: Tag::default() }
    }

    /// The same for the requests of one connection, which marks know by its socket.
    pub(super) fn on_connection(self, socket: RawFd) -> Self {
        Self { connection: socket.unsigned_abs().into(), ..self }
    }

    /// The connection, for marks.
    #[cfg(feature = "trace")]
    pub(super) fn connection(&self) -> Tag {
        self.connection
    }

    /// The answer to a request.
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + use<> {
        let admitted = match self.admission.admit(&request) {
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
            let routed = route(self.routes.clone(), request, deadline);
            Answering::Routed { answer: admitted.in_time(routed) }
        }
    }
}

/// Whether a request may take the fast path, which does not support compression.
fn takes_fast_path<B>(request: &Request<B>) -> bool {
    let is_grpc = |value| value == "application/grpc" || value == "application/grpc+proto";
    let headers = request.headers();
    request.method() == Method::POST
        && request.uri().path() == ISSUE
        && headers.get(CONTENT_TYPE).is_some_and(is_grpc)
        && !headers.contains_key("grpc-encoding")
}

/// Issues a coupon.
async fn issue(
    shards: Arc<ShardClient>,
    body: Incoming,
    deadline: Deadline,
) -> Response<AnswerBody> {
    let issued = match unary::read(body, REQUEST_BYTES_MAX).await {
        Ok(request) => {
            mark(Stage::Decoded, subject(deadline));
            issue_coupon(&shards, request, deadline.0).await
        }
        Err(malformed) => Err(malformed.fault(REQUEST_BYTES_MAX)),
    };
    let answer = match issued {
        Ok(message) => unary::answer(&message),
        Err(fault) => fault.into_status().into_http(),
    };
    mark(Stage::Answered, subject(deadline));
    answer
}

/// A request as a subject of marks.
fn subject(deadline: Deadline) -> Subject {
    Subject::Request { deadline: deadline.0.into_std().into() }
}

/// Lets the framework answer.
async fn route(
    routes: Routes,
    request: Request<Incoming>,
    deadline: Deadline,
) -> Response<AnswerBody> {
    let path = request.uri().path();
    let ours = is_governed(path).then(|| request_bytes_max(path));
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(deadline);
    let Ok(answer) = routes.oneshot(request).await;
    let answer = match ours {
        Some(bytes_max) => malformed::explain(answer, bytes_max),
        None => answer,
    };
    answer.map(AnswerBody::Routed)
}

pin_project! {
    /// The answer to a request.
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
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match self.project() {
            AnsweringProjection::Refused { fault } => {
                let fault = fault.take().expect("a future is polled until it is ready");
                Poll::Ready(fault.into_status().into_http())
            }
            AnsweringProjection::Issued { answer } => answer.poll(context),
            AnsweringProjection::Routed { answer } => answer.poll(context),
        };
        answer.map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_call_of_the_one_method_goes_the_fast_path() {
        let call = || Request::post(ISSUE).header("content-type", "application/grpc+proto");
        let takes_fast_path =
            |request: http::request::Builder| takes_fast_path(&request.body(()).unwrap());
        assert!(takes_fast_path(call()));
        assert!(takes_fast_path(Request::post(ISSUE).header("content-type", "application/grpc")));
        let others = [
            call().method("GET"),
            call().uri("/coupon.v1.CouponService/BatchIssueCoupons"),
            call().header("grpc-encoding", "identity"),
            Request::post(ISSUE),
            Request::post(ISSUE).header("content-type", "application/grpc+json"),
            Request::post(ISSUE).header("content-type", "application/grpc-web"),
        ];
        for other in others {
            assert!(!takes_fast_path(other));
        }
    }
}
