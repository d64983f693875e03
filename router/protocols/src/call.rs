//! The beginning of a call: what a request asks for, and the request that a service gets for it.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Response, Version};
use tonic::Status;
use tonic::body::Body;

use crate::call_body::{CallBody, Reading};
use crate::connect::get::Query;
use crate::connect::{headers, unary};
use crate::framed;
use crate::gzip::{Encoding, is_accepted};
use crate::http_refusal::{
    http_version_not_supported, method_not_allowed, not_found, unsupported_media_type,
};
use crate::protocol::{Form, Protocol};
use crate::refusal::Refusal;
use crate::schema::{Method, Schema};
use crate::translator::Rules;

/// What is the business of one connection or one protocol, and not of a service.
const STRIPPED_HEADERS: [&str; 15] = [
    "accept-encoding",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "connection",
    "content-encoding",
    "content-length",
    "grpc-accept-encoding",
    "grpc-encoding",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What a client wants of an answer.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Arc<Method>,
    pub(crate) protocol: Protocol,
    /// Whether large messages are compressed.
    pub(crate) compresses: bool,
}

/// A request that cannot become a call, answered. In a box, since it is large and rare.
pub(crate) type Refused = Box<Response<Body>>;

/// Makes a call of a request.
///
/// # Errors
/// [`Refused`] in the protocol of the request, or in plain HTTP if it has none.
pub(crate) fn begin(
    request: Request<Body>,
    schema: &Schema,
    rules: Rules,
) -> Result<(Call, Request<CallBody>), Refused> {
    let (parts, body) = request.into_parts();
    let Some(method) = schema.method(parts.uri.path()).cloned() else {
        return Err(Box::new(match Protocol::of(&parts.headers) {
            Some(protocol) if parts.method == Verb::POST => no_method(protocol, schema, rules),
            Some(_) | None => not_found(),
        }));
    };
    let query = (parts.method == Verb::GET && method.takes_get())
        .then(|| Query::new(parts.uri.query().unwrap_or_default()));
    if query.is_none() && parts.method != Verb::POST {
        return Err(Box::new(method_not_allowed(&method)));
    }
    let protocol = match &query {
        Some(query) => Protocol::of_get(query.codec()),
        None => Protocol::of(&parts.headers),
    };
    let Some(protocol) = protocol.filter(|protocol| method.takes(protocol.form)) else {
        return Err(Box::new(unsupported_media_type(&method)));
    };
    check_http(&parts, protocol, &method)?;
    let begun = match query {
        Some(query) => begin_get(parts, query, method, protocol, rules),
        None => begin_post(parts, body, method, protocol, rules),
    };
    begun.map_err(|refusal| {
        let status = (rules.explain)(refusal);
        Box::new(refuse(&status, protocol, schema))
    })
}

fn begin_get(
    parts: Parts,
    query: Query,
    method: Arc<Method>,
    protocol: Protocol,
    rules: Rules,
) -> Result<(Call, Request<CallBody>), Refusal> {
    let encoding = query.compression()?;
    let message = query.message()?;
    let (call, reading) = agree(&parts, method, protocol, encoding, rules);
    let bytes_max = reading.bytes_max;
    if message.len() > bytes_max {
        return Err(Refusal::TooLarge { bytes_max });
    }
    Ok((call, to_grpc_request(parts, protocol.form, CallBody::of_message(message, reading))?))
}

fn begin_post(
    parts: Parts,
    body: Body,
    method: Arc<Method>,
    protocol: Protocol,
    rules: Rules,
) -> Result<(Call, Request<CallBody>), Refusal> {
    let encoding = parts.headers.get(protocol.form.encoding_header());
    // What is no text is no known name.
    let encoding = Encoding::named(encoding.map(|name| name.to_str().unwrap_or("?")))?;
    if matches!(protocol.form, Form::ConnectUnary | Form::ConnectStream) {
        headers::check_version(&parts.headers)?;
    }
    let (call, reading) = agree(&parts, method, protocol, encoding, rules);
    Ok((call, to_grpc_request(parts, protocol.form, CallBody::new(body, reading))?))
}

/// How a request is read and its answer written.
fn agree(
    parts: &Parts,
    method: Arc<Method>,
    protocol: Protocol,
    encoding: Encoding,
    rules: Rules,
) -> (Call, Reading) {
    let Protocol { form, codec, .. } = protocol;
    // Libraries of gRPC list gzip whether or not they ask for it.
    let asks = form != Form::Grpc || encoding == Encoding::Gzip;
    let compresses = asks && is_accepted(&parts.headers, form.accept_header(), encoding);
    let path = parts.uri.path();
    let (bytes_max, items_max) = ((rules.request_bytes_max)(path), (rules.request_items_max)(path));
    let explain = rules.explain;
    let method_read = Arc::clone(&method);
    let reading =
        Reading { method: method_read, form, codec, encoding, bytes_max, items_max, explain };
    (Call { method, protocol, compresses }, reading)
}

/// The request that a service gets.
fn to_grpc_request(parts: Parts, form: Form, body: CallBody) -> Result<Request<CallBody>, Refusal> {
    let mut passed = Request::new(body);
    *passed.method_mut() = Verb::POST;
    *passed.version_mut() = Version::HTTP_2;
    // A service reads the path alone.
    *passed.uri_mut() = parts.uri;
    let mut kept: HeaderMap = parts.headers;
    if matches!(form, Form::ConnectUnary | Form::ConnectStream) {
        kept.remove("grpc-timeout");
        if let Some(timeout) = headers::grpc_timeout(&kept)? {
            kept.insert("grpc-timeout", timeout);
        }
    }
    for name in STRIPPED_HEADERS {
        kept.remove(name);
    }
    kept.insert("content-type", HeaderValue::from_static("application/grpc"));
    kept.insert("te", HeaderValue::from_static("trailers"));
    *passed.headers_mut() = kept;
    *passed.extensions_mut() = parts.extensions;
    Ok(passed)
}

/// Refuses what HTTP/1.1 cannot carry: gRPC, because few proxies forward trailers, and bidirectional streams.
fn check_http(parts: &Parts, protocol: Protocol, method: &Method) -> Result<(), Refused> {
    let text = if parts.version >= Version::HTTP_2 {
        return Ok(());
    } else if protocol.form == Form::Grpc {
        "gRPC needs HTTP/2. Over HTTP/1.1, use Connect or gRPC-Web.\n"
    } else if method.is_bidirectional() {
        "This method streams both ways, which needs HTTP/2.\n"
    } else {
        return Ok(());
    };
    Err(Box::new(http_version_not_supported(text)))
}

/// There is no method at the path, and the client speaks a protocol that can say so.
fn no_method(protocol: Protocol, schema: &Schema, rules: Rules) -> Response<Body> {
    let status = (rules.explain)(Refusal::Unsupported("there is no such method".into()));
    let mut answer = refuse(&status, protocol, schema);
    if protocol.form == Form::ConnectUnary {
        *answer.status_mut() = http::StatusCode::NOT_FOUND;
    }
    answer
}

fn refuse(status: &Status, protocol: Protocol, schema: &Schema) -> Response<Body> {
    if protocol.form == Form::ConnectUnary {
        unary::refusal(status, HeaderMap::new(), false, schema)
    } else {
        framed::refusal(status, protocol, schema)
    }
}
