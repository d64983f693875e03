//! The calling side: names the node that every call is for, and accepts data from that node alone.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::Service;

use crate::names::Addressee;

/// A channel to a node of a cluster.
pub type AddressedChannel = Addressed<Channel>;

/// A channel to one node, for the clients of all services. As cheap to clone as the channel inside.
#[derive(Clone, Debug)]
pub struct Addressed<S> {
    inner: S,
    to: Addressee,
}

impl<S> Addressed<S> {
    /// Addresses calls through `inner` to `to`.
    pub fn new(inner: S, to: Addressee) -> Self {
        Self { inner, to }
    }

    /// The node that calls are for.
    pub fn addressee(&self) -> &Addressee {
        &self.to
    }
}

impl<S, B> Service<Request<B>> for Addressed<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Checked<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.to.write(request.headers_mut());
        Checked { answer: self.inner.call(request), to: self.to.clone() }
    }
}

pin_project! {
    /// The future of an answer, which is checked when it arrives.
    pub struct Checked<F> {
        #[pin]
        answer: F,
        to: Addressee,
    }
}

impl<F, E> Future for Checked<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(context))?;
        let Err(mismatch) = this.to.check(response.headers()) else {
            return Poll::Ready(Ok(response));
        };
        if mismatch.answerer.is_none() && is_said_by_the_transport(response.headers()) {
            return Poll::Ready(Ok(response));
        }
        Poll::Ready(Ok(Status::from(mismatch).into_http()))
    }
}

/// Whether an answer without a name is an error of the node's transport, raised outside its
/// services: an expired deadline, or the end of the connection. Such errors count, whichever node
/// they come from.
fn is_said_by_the_transport(headers: &HeaderMap) -> bool {
    let code = Status::from_header_map(headers).map(|status| status.code());
    matches!(code, Some(Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use coupon_cluster::{NodeId, NodeIdentity};
    use tower::{Layer as _, ServiceExt as _};

    use super::*;
    use crate::{Answerer, AnswererLayer, Mismatch, Reason};

    fn addressee() -> Addressee {
        Addressee::new("c", NodeId::new(1).unwrap(), "s").unwrap()
    }

    fn request() -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "/coupon.internal.v1.ShardService/Read".parse().unwrap();
        request
    }

    /// The error that a caller gets for an answer; `None` if it gets the answer.
    async fn told(answer: impl Fn() -> Response<Body>) -> Option<Status> {
        let inner = tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(answer()) });
        let response = Addressed::new(inner, addressee()).oneshot(request()).await.unwrap();
        Status::from_header_map(response.headers())
    }

    #[tokio::test]
    async fn a_node_answers_only_calls_that_mean_it() {
        for (cluster_id, reason) in [("c", None), ("d", Some(Reason::WrongCluster))] {
            let (node_id, store_id) = (NodeId::new(1).unwrap(), "s".to_owned());
            let identity = NodeIdentity { cluster_id: cluster_id.to_owned(), node_id, store_id };
            let layer = AnswererLayer::new(Answerer::new(identity.clone()).unwrap());
            let node = layer.layer(tower::service_fn(|_: Request<Body>| async {
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }));
            let response = Addressed::new(node, addressee()).oneshot(request()).await.unwrap();
            let status = Status::from_header_map(response.headers());
            let mismatch = status.as_ref().and_then(Mismatch::of);
            assert_eq!(mismatch.as_ref().map(|mismatch| mismatch.reason), reason);
            assert!(mismatch.is_none_or(|mismatch| mismatch.answerer == Some(identity)));
        }
    }

    #[tokio::test]
    async fn data_without_a_name_is_an_error() {
        let status = told(|| Response::new(Body::new("data".to_owned()))).await.unwrap();
        assert_eq!(Mismatch::of(&status).unwrap().reason, Reason::Unnamed);
        let status = told(|| Status::not_found("no campaign").into_http()).await.unwrap();
        assert_eq!(Mismatch::of(&status).unwrap().reason, Reason::Unnamed);
    }

    #[tokio::test]
    async fn a_deadline_that_ran_out_at_the_node_is_told_as_it_is() {
        let status = told(|| Status::deadline_exceeded("too late").into_http()).await.unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}
