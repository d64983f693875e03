//! Refusals of requests that speak none of the protocols: an HTTP status and a sentence.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tonic::body::Body;

use crate::protocol::{ALL, Form};
use crate::schema::Method;

static ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// An answer in plain text.
#[must_use]
pub fn plain_text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::new(Full::new(text.into())));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}

/// There is no method and no page at the path.
pub(crate) fn not_found() -> Response<Body> {
    plain_text(
        StatusCode::NOT_FOUND,
        "There is nothing at this path. The path of a method is /package.Service/Method; GET / says more.\n",
    )
}

/// The method is there, the verb is not one for it.
pub(crate) fn method_not_allowed(method: &Method) -> Response<Body> {
    let (allowed, text) = if method.takes_get() {
        ("GET, POST", "Call this method by POST or GET.\n")
    } else {
        ("POST", "Call this method by POST.\n")
    };
    let mut answer = plain_text(StatusCode::METHOD_NOT_ALLOWED, text);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// The method is there, the content type is not one for it.
pub(crate) fn unsupported_media_type(method: &Method) -> Response<Body> {
    let taken = ALL.iter().filter(|protocol| method.takes(protocol.form));
    let taken: Vec<_> = taken.map(|protocol| protocol.content_type).collect();
    let text = if method.takes(Form::ConnectUnary) {
        "Use one of the content types in Accept-Post, for instance application/json.\n"
    } else {
        "This method streams. Use one of the content types in Accept-Post.\n"
    };
    let mut answer = plain_text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    let taken = HeaderValue::try_from(taken.join(", ")).expect("content types are ASCII");
    answer.headers_mut().insert(ACCEPT_POST.clone(), taken);
    answer
}

/// The call needs HTTP/2.
pub(crate) fn http_version_not_supported(text: &'static str) -> Response<Body> {
    plain_text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, text)
}
