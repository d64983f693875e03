//! Refusals of requests that speak none of the protocols: a status of HTTP and a sentence.

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
pub fn sentence(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::new(Full::new(text.into())));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}

/// There is no method and no page at the path.
pub(crate) fn nothing_here() -> Response<Body> {
    sentence(
        StatusCode::NOT_FOUND,
        "There is nothing at this path. The path of a method is /package.Service/Method; GET / says more.\n",
    )
}

/// The method is there, the verb is not one for it.
pub(crate) fn wrong_verb(method: &Method) -> Response<Body> {
    let (allowed, text) = if method.takes_get() {
        ("GET, POST", "Call this method by POST or GET.\n")
    } else {
        ("POST", "Call this method by POST.\n")
    };
    let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, text);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// The method is there, the content type is not one for it.
pub(crate) fn wrong_content_type(method: &Method) -> Response<Body> {
    let taken = ALL.iter().filter(|protocol| method.takes(protocol.form));
    let taken: Vec<_> = taken.map(|protocol| protocol.content_type).collect();
    let text = if method.takes(Form::ConnectUnary) {
        "Use one of the content types in Accept-Post, for instance application/json.\n"
    } else {
        "This method streams. Use one of the content types in Accept-Post.\n"
    };
    let mut answer = sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    let taken = HeaderValue::try_from(taken.join(", ")).expect("content types are ASCII");
    answer.headers_mut().insert(ACCEPT_POST.clone(), taken);
    answer
}

/// HTTP/1.1 does not do for what is asked.
pub(crate) fn needs_http2(text: &'static str) -> Response<Body> {
    sentence(StatusCode::HTTP_VERSION_NOT_SUPPORTED, text)
}
