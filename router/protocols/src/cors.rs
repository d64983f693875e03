//! Cross-origin requests: which web pages may read the answers (Fetch standard, CORS protocol).

use std::collections::BTreeSet;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tonic::body::Body;

use crate::http_refusal::plain_text;

/// The headers that clients of Connect and gRPC-Web send.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, content-encoding, connect-protocol-version, connect-timeout-ms, \
     connect-content-encoding, connect-accept-encoding, grpc-timeout, grpc-encoding, \
     grpc-accept-encoding, x-grpc-web, x-user-agent",
);

/// The headers that they read.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-encoding, connect-content-encoding, grpc-encoding, grpc-status, grpc-message, \
     grpc-status-details-bin",
);

/// Seconds for which a browser may cache a preflight answer: two hours, the maximum of Chromium.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The web pages that may read answers, by origin. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    origins: Arc<BTreeSet<String>>,
}

impl Cors {
    /// Those of the listed origins, for instance `https://example.com`; `*` stands for all.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        Self { origins: Arc::new(origins.into_iter().collect()) }
    }

    /// What the answer names as allowed, if the request comes from an allowed page.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        if self.origins.contains("*") {
            return Some(HeaderValue::from_static("*"));
        }
        let is_listed = origin.to_str().is_ok_and(|origin| self.origins.contains(origin));
        is_listed.then(|| origin.clone())
    }

    /// The answer to a browser that asks whether it may send a request.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS
            || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let Some(origin) = self.allowed(headers) else {
            return Some(plain_text(
                StatusCode::FORBIDDEN,
                "Pages of this origin may not call: the setting cors_origins does not list it.\n",
            ));
        };
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let allow = answer.headers_mut();
        Self::expose(origin, allow);
        allow.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        allow.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        allow.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
        Some(answer)
    }

    /// Lets pages of an origin read an answer.
    pub(crate) fn expose(origin: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}
