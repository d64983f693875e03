//! The serving side: refuses calls for other nodes, and names this node in every answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use coupon_cluster::NodeIdentity;
use http::{Request, Response};
use parking_lot::RwLock;
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::mismatch::Mismatch;
use crate::names::{IdentityError, Named};

/// The prefix of services that only cluster members may call. Others, such as health, are open to
/// everyone.
const INTERNAL: &str = "/coupon.internal.v1.";

/// Calls that may lack names: their callers do not know yet which node listens, or are in no
/// cluster themselves. Names that are present are still checked.
const NAMES_OPTIONAL: [&str; 7] = [
    "/coupon.internal.v1.ClusterService/Identify",
    "/coupon.internal.v1.ClusterService/InitCluster",
    "/coupon.internal.v1.ClusterService/RegisterNode",
    "/coupon.internal.v1.ClusterService/Announce",
    "/coupon.internal.v1.BackupService/StageState",
    "/coupon.internal.v1.BackupService/ListStagedStates",
    "/coupon.internal.v1.BackupService/RestoreCluster",
];

/// The identity that a node answers with, which changes when it joins a cluster. Clones share it.
#[derive(Clone, Debug)]
pub struct Answerer(Arc<RwLock<Arc<Named>>>);

impl Answerer {
    /// Answers as `identity`.
    ///
    /// # Errors
    /// When an id has characters that no header can carry.
    pub fn new(identity: NodeIdentity) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(Named::new(identity)?)))))
    }

    /// Answers as a member of a cluster from now on.
    ///
    /// # Errors
    /// As [`Answerer::new`]; nothing changes then.
    pub fn join(&self, cluster_id: &str) -> Result<(), IdentityError> {
        let mut named = self.0.write();
        let cluster_id = cluster_id.to_owned();
        *named = Arc::new(Named::new(NodeIdentity { cluster_id, ..named.identity.clone() })?);
        Ok(())
    }

    /// The identity that answers carry now.
    pub fn identity(&self) -> NodeIdentity {
        self.0.read().identity.clone()
    }

    fn now(&self) -> Arc<Named> {
        self.0.read().clone()
    }
}

/// Puts [`Answering`] in front of a node's services.
#[derive(Clone, Debug)]
pub struct AnswererLayer(Answerer);

impl AnswererLayer {
    /// Makes the services behind the layer answer as `answerer`.
    pub fn new(answerer: Answerer) -> Self {
        Self(answerer)
    }
}

impl<S> Layer<S> for AnswererLayer {
    type Service = Answering<S>;

    fn layer(&self, inner: S) -> Answering<S> {
        Answering { inner, answerer: self.0.clone() }
    }
}

/// A service that answers in the name of its node.
#[derive(Clone, Debug)]
pub struct Answering<S> {
    inner: S,
    answerer: Answerer,
}

impl<S, B> Service<Request<B>> for Answering<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if !path.starts_with(INTERNAL) {
            return Answer::Plain { answer: self.inner.call(request) };
        }
        let named = self.answerer.now();
        match named.refuses(request.headers(), !NAMES_OPTIONAL.contains(&path)) {
            None => Answer::Named { answer: self.inner.call(request), named },
            Some(reason) => {
                let answerer = Some(named.identity.clone());
                let refusal = Status::from(Mismatch { reason, answerer });
                let mut refusal = refusal.into_http();
                named.write(refusal.headers_mut());
                Answer::Refused { refusal: Some(refusal) }
            }
        }
    }
}

pin_project! {
    /// The future of an answer.
    #[project = AnswerProjection]
    pub enum Answer<F> {
        /// From a service that is open to everyone.
        Plain {
            #[pin]
            answer: F,
        },
        /// To a call for this node.
        Named {
            #[pin]
            answer: F,
            named: Arc<Named>,
        },
        /// To a call for another node.
        Refused {
            refusal: Option<Response<Body>>,
        },
    }
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            AnswerProjection::Plain { answer } => ready!(answer.poll(context)),
            AnswerProjection::Named { answer, named } => {
                ready!(answer.poll(context)).map(|mut response| {
                    named.write(response.headers_mut());
                    response
                })
            }
            AnswerProjection::Refused { refusal } => {
                Ok(refusal.take().expect("an answer is not asked for once it is there"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use coupon_cluster::{NodeId, NodeIdentity};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{Addressee, Reason};

    fn answerer(cluster_id: &str) -> Answerer {
        let node_id = NodeId::new(1).unwrap();
        let (cluster_id, store_id) = (cluster_id.to_owned(), "s".to_owned());
        Answerer::new(NodeIdentity { cluster_id, node_id, store_id }).unwrap()
    }

    /// The answer to a call, and the mismatch that it reports.
    async fn call(
        answerer: &Answerer,
        path: &str,
        to: Option<&Addressee>,
    ) -> (Response<Body>, Option<Mismatch>) {
        let inner = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        if let Some(to) = to {
            to.write(request.headers_mut());
        }
        let service = AnswererLayer::new(answerer.clone()).layer(inner);
        let response = service.oneshot(request).await.unwrap();
        let status = Status::from_header_map(response.headers());
        let mismatch = status.as_ref().and_then(Mismatch::of);
        (response, mismatch)
    }

    const READ: &str = "/coupon.internal.v1.ShardService/Read";
    const IDENTIFY: &str = "/coupon.internal.v1.ClusterService/Identify";

    #[tokio::test]
    async fn calls_for_another_are_refused_and_every_answer_is_named() {
        let me = answerer("c");
        let to = |cluster, id| Addressee::new(cluster, NodeId::new(id).unwrap(), "s").unwrap();
        for (path, addressee, reason) in [
            (READ, Some(to("c", 1)), None),
            (READ, Some(to("d", 1)), Some(Reason::WrongCluster)),
            (READ, Some(to("c", 2)), Some(Reason::WrongNode)),
            (READ, None, Some(Reason::Unaddressed)),
            (IDENTIFY, None, None),
            (IDENTIFY, Some(to("d", 1)), Some(Reason::WrongCluster)),
        ] {
            let (response, mismatch) = call(&me, path, addressee.as_ref()).await;
            assert_eq!(mismatch.as_ref().map(|mismatch| mismatch.reason), reason, "{path}");
            assert!(to("c", 1).check(response.headers()).is_ok(), "it is named");
            if let Some(mismatch) = mismatch {
                assert_eq!(mismatch.answerer, Some(me.identity()));
            }
        }
    }

    #[tokio::test]
    async fn strangers_may_ask_how_a_node_is() {
        let (response, mismatch) = call(&answerer("c"), "/grpc.health.v1.Health/Check", None).await;
        assert_eq!(mismatch, None);
        assert!(response.headers().is_empty());
    }

    #[tokio::test]
    async fn a_node_that_joins_answers_as_a_member_from_then_on() {
        let me = answerer("");
        let to = Addressee::new("c", NodeId::new(1).unwrap(), "s").unwrap();
        let (_, mismatch) = call(&me, READ, Some(&to)).await;
        let mismatch = mismatch.unwrap();
        assert_eq!((mismatch.reason, mismatch.foreign_cluster()), (Reason::WrongCluster, None));
        me.join("c").unwrap();
        assert_eq!(call(&me, READ, Some(&to)).await.1, None);
    }
}
