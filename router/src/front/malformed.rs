//! Requests that never reach an operation, since they are too large or no protobuf. The framework refuses
//! them without details; here they get those of any other invalid request.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use coupon_proto::limits::{BATCH_MAX, METADATA_MAX};
use coupon_proto::v1::coupon_service_server::CouponServiceServer;
use coupon_protocols::{Refusal, plain_text};
use http::{Request, Response, StatusCode};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

use crate::answer::error::Fault;
use crate::op::Coupons;

/// How large one request may be, a batch excepted. No valid one comes close, by the limits of its
/// fields.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 10;

/// How large a batch may be. Its answer repeats what it holds and has some hundreds of bytes more for
/// each item, and gRPC clients take 4 MiB unless told otherwise.
pub(super) const BATCH_BYTES_MAX: usize = 2 << 20;

/// How many items the repeated fields of a request may have, a batch excepted; the largest is a map of 32 labels.
const REQUEST_ITEMS_MAX: usize = 1_000;

/// How many those of a batch may have: its requests, and the metadata of each. Two bytes are an empty
/// request, which takes a hundred in memory, so that this is checked before a batch is decoded.
const BATCH_ITEMS_MAX: usize = BATCH_MAX * (1 + METADATA_MAX);

/// How large the headers of a request may be, its path included. A GET has its message there.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// Where batches go.
const BATCH: &str = "/coupon.v1.CouponService/BatchIssueCoupons";

/// How large a request to the method at `path` may be.
pub(super) fn request_bytes_max(path: &str) -> usize {
    if path == BATCH { BATCH_BYTES_MAX } else { REQUEST_BYTES_MAX }
}

/// How many items the repeated fields of a request to the method at `path` may have.
pub(super) fn request_items_max(path: &str) -> usize {
    if path == BATCH { BATCH_ITEMS_MAX } else { REQUEST_ITEMS_MAX }
}

/// Whether the items of a request to the method at `path` must be counted even if it is a plain gRPC call: only a batch
/// has room for so many that they matter.
pub(super) fn must_be_counted(path: &str) -> bool {
    path == BATCH
}

/// A service with one bound for batches and one for all other requests. The framework has one for
/// each service, and refuses by it before it reads what is too large.
#[derive(Debug, Clone)]
pub(super) struct SizedByMethod<S> {
    batches: S,
    others: S,
}

impl SizedByMethod<CouponServiceServer<Coupons>> {
    /// The service with its bounds.
    pub(super) fn new(coupons: Coupons) -> Self {
        let coupons = Arc::new(coupons);
        let bounded = |bytes_max| {
            let coupons = Arc::clone(&coupons);
            CouponServiceServer::from_arc(coupons).max_decoding_message_size(bytes_max)
        };
        Self { batches: bounded(BATCH_BYTES_MAX), others: bounded(REQUEST_BYTES_MAX) }
    }
}

impl<S: NamedService> NamedService for SizedByMethod<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for SizedByMethod<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.batches.poll_ready(context))?;
        self.others.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        if request.uri().path() == BATCH {
            self.batches.call(request)
        } else {
            self.others.call(request)
        }
    }
}

/// Why a request whose headers are too large is refused; `None` if they are not.
pub(super) fn header_fault<B>(request: &Request<B>) -> Option<Fault> {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let fields = request.headers().iter();
    let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
    (path + fields > HEADER_BYTES_MAX).then(|| {
        let description = format!("must not be larger than {HEADER_BYTES_MAX} bytes in all");
        Fault::field("metadata", description)
    })
}

/// The answer to such a request in a protocol other than gRPC.
pub(super) fn headers_too_large() -> Response<Body> {
    let text = format!("The headers must not be larger than {HEADER_BYTES_MAX} bytes in all.\n");
    plain_text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text)
}

/// Why a request was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It is larger than it may be.
    TooLarge,
    /// It has no message, or what it has cannot be read.
    NoMessage,
}

impl Malformed {
    /// What its caller is told, if it may have `request_bytes_max`.
    pub(super) fn fault(self, request_bytes_max: usize) -> Fault {
        let description = match self {
            Self::TooLarge => format!("must not be larger than {request_bytes_max} bytes"),
            Self::NoMessage => "must be valid protobuf; strings must be UTF-8".to_owned(),
        };
        Fault::field("request", description)
    }
}

/// The status for a request that could not be translated. If gRPC has the same error, all protocols share its status.
pub(super) fn explain_refusal(refusal: Refusal) -> Status {
    match refusal {
        Refusal::TooLarge { bytes_max } => Malformed::TooLarge.fault(bytes_max).into_status(),
        Refusal::TooManyItems { items_max } => {
            let description =
                format!("must not have more than {items_max} items in its repeated fields");
            Fault::field("request", description).into_status()
        }
        Refusal::Invalid(description) => Fault::field("request", description).into_status(),
        Refusal::Unsupported(_) | Refusal::NoEncoding => refusal.status(),
    }
}

/// The answer, or one that says what was wrong with the request if the framework refused it. Our own
/// errors always have details.
pub(super) fn explain(answer: Response<Body>, request_bytes_max: usize) -> Response<Body> {
    let status = Status::from_header_map(answer.headers());
    let Some(status) = status.filter(|status| status.details().is_empty()) else { return answer };
    let malformed = if status.code() == Code::OutOfRange {
        Malformed::TooLarge
    } else if status.code() == Code::Internal {
        Malformed::NoMessage
    } else {
        return answer;
    };
    malformed.fault(request_bytes_max).into_status().into_http()
}
