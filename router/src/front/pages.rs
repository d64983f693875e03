//! What a person, a supervisor or a tool asks by GET: what this is, whether it lives, whether it is ready, what it offers.

use std::sync::LazyLock;

use bytes::Bytes;
use coupon_proto::FILE_DESCRIPTOR_SET;
use coupon_protocols::{About, openapi, plain_text};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckResponse;
use tower::ServiceExt as _;

/// The method that tells whether a router serves.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Its request, which asks for the router as a whole: a frame with an empty message.
const CHECK_ALL: Bytes = Bytes::from_static(&[0; 5]);

const ABOUT: &str = "\
Coupon: gives away a fixed number of coupons, first come first served. This is a router.

It answers gRPC, gRPC-Web and Connect on this port. For instance:

  curl -H 'Content-Type: application/json' \\
    -d '{\"campaignId\": \"first-come\", \"recipient\": \"alice\"}' \\
    http://THIS-ADDRESS/coupon.v1.CouponService/IssueCoupon

Reflection lists all methods, and /openapi.json describes them in JSON. /healthz says that the router lives, /readyz whether it serves.
docs/api.md, in the source, says more.
";

/// The API in JSON, for tools that read OpenAPI.
static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| {
    let about = About {
        title: "Coupon",
        version: env!("CARGO_PKG_VERSION"),
        description: "Gives away a fixed number of coupons, first come first served. This is its JSON form, the protocol \
            Connect.\n\nDecide by the reason of an error: it is in the detail whose type is `google.rpc.ErrorInfo`. \
            The section \"Errors\" of docs/api.md, in the source, lists all reasons.",
    };
    openapi(FILE_DESCRIPTOR_SET, about).expect("the descriptors come from the compiler").into()
});

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    About,
    Live,
    Ready,
    OpenApi,
}

impl Page {
    /// The page that a request asks for, if there is one at its path.
    pub(super) fn asked_for<B>(request: &Request<B>) -> Option<Self> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.uri().path() {
            "/" => Some(Self::About),
            "/healthz" => Some(Self::Live),
            "/readyz" => Some(Self::Ready),
            "/openapi.json" => Some(Self::OpenApi),
            _ => None,
        }
    }

    /// What it says; `routes` have the health service.
    pub(super) async fn answer(self, routes: Routes) -> Response<Body> {
        match self {
            Self::About => plain_text(StatusCode::OK, ABOUT),
            Self::Live => plain_text(StatusCode::OK, "The router lives.\n"),
            Self::OpenApi => {
                let mut answer = plain_text(StatusCode::OK, OPENAPI.clone());
                let json = HeaderValue::from_static("application/json");
                answer.headers_mut().insert(CONTENT_TYPE, json);
                answer
            }
            Self::Ready if serves(routes).await => {
                plain_text(StatusCode::OK, "The router serves.\n")
            }
            Self::Ready => plain_text(
                StatusCode::SERVICE_UNAVAILABLE,
                "The router does not serve: it does not know the cluster, or it stops. Its log says more.\n",
            ),
        }
    }
}

/// Whether the router serves, by the word of its health service.
async fn serves(routes: Routes) -> bool {
    let request = Request::post(CHECK).header("content-type", "application/grpc");
    let Ok(request) = request.body(Body::new(Full::new(CHECK_ALL))) else { return false };
    let Ok(answer) = routes.oneshot(request).await;
    let Ok(answer) = answer.into_body().collect().await else { return false };
    let answer = answer.to_bytes();
    let Some(message) = answer.get(CHECK_ALL.len()..) else { return false };
    HealthCheckResponse::decode(message)
        .is_ok_and(|answer| answer.status == ServingStatus::Serving as i32)
}
