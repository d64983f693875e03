//! Errors: a gRPC status in Connect's JSON, and its HTTP status.

use base64::Engine as _;
use http::StatusCode;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::schema::Schema;
use crate::text::UNPADDED;

/// An error in JSON. Details whose type is known are shown as JSON as well, for people.
pub(crate) fn error(status: &Status, schema: &Schema) -> Value {
    let mut error = json!({ "code": name(status.code()) });
    if !status.message().is_empty() {
        error["message"] = status.message().into();
    }
    let details = pb::Status::decode(status.details()).unwrap_or_default().details;
    if !details.is_empty() {
        error["details"] = details.iter().map(|any| detail(any, schema)).collect();
    }
    error
}

fn detail(any: &prost_types::Any, schema: &Schema) -> Value {
    let kind = any.type_url.rsplit('/').next().unwrap_or_default();
    let mut detail = json!({ "type": kind, "value": UNPADDED.encode(&any.value) });
    if let Some(debug) = schema.json_of(kind, &any.value) {
        detail["debug"] = debug;
    }
    detail
}

/// What Connect calls a code.
pub(crate) fn name(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "canceled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
        // Connect has no name for `Ok`, which is never the code of an error.
        Code::Unknown | Code::Ok => "unknown",
    }
}

/// The HTTP status for a code.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Cancelled => StatusCode::from_u16(499).expect("499 is in the range of status codes"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss | Code::Ok => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
