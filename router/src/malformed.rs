//! Requests that never reach a service, since they are too large or no protobuf. The framework refuses
//! them without details; here they get those of any other invalid request.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::error::Fault;

/// How large one request to `CampaignService` may be.
pub(crate) const CAMPAIGN_REQUEST_BYTES_MAX: usize = 64 << 10;

/// How large one request to `CouponService` may be: a batch. Its answer repeats what it holds and has
/// some hundreds of bytes more for each item, and clients of gRPC take 4 MiB unless told otherwise. A
/// single issue stays far below 64 KiB by the limits of its fields.
pub(crate) const COUPON_REQUEST_BYTES_MAX: usize = 2 << 20;

/// How large a request to the method at `path` may be.
pub(crate) fn request_bytes_max(path: &str) -> usize {
    if path.starts_with("/coupon.v1.CampaignService/") {
        CAMPAIGN_REQUEST_BYTES_MAX
    } else {
        COUPON_REQUEST_BYTES_MAX
    }
}

/// The answer, or one that says what was wrong with the request if the framework refused it. Our own
/// errors always have details.
pub(crate) fn explain(answer: Response<Body>, request_bytes_max: usize) -> Response<Body> {
    let status = Status::from_header_map(answer.headers());
    let Some(status) = status.filter(|status| status.details().is_empty()) else { return answer };
    let description = if status.code() == Code::OutOfRange {
        format!("must not be larger than {request_bytes_max} bytes")
    } else if status.code() == Code::Internal {
        "must be valid protobuf; strings must be UTF-8".to_owned()
    } else {
        return answer;
    };
    Fault::field("request", description).into_status().into_http()
}
