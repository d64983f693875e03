//! The answer to a call with one message each way: the message, or an error with an HTTP status.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::{Code, Status};

use super::STATUS;
use super::error::{error, http_status};
use crate::call::Call;
use crate::frames::FrameReader;
use crate::gzip::{GZIP, compress};
use crate::schema::Schema;

/// What trailers are called among the headers.
const TRAILER: &str = "trailer-";

/// Waits for the answer of a service and translates it. It is held as a whole, since its status comes last.
pub(crate) async fn answer(answer: Response<Body>, call: &Call, schema: &Schema) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let (mut headers, mut trailers) = (head.headers, HeaderMap::new());
    let mut frames = FrameReader::default();
    let mut ended = Status::from_header_map(&headers);
    let mut body = body;
    while let Some(frame) = body.frame().await {
        let frame = frame.map(|frame| frame.into_data().map(|data| frames.push(&data)));
        match frame {
            Ok(Ok(())) => {}
            Ok(Err(last)) => trailers = last.into_trailers().unwrap_or_default(),
            Err(status) => ended = Some(status),
        }
    }
    let ended = ended.or_else(|| Status::from_header_map(&trailers));
    let ended = ended.unwrap_or_else(|| Status::internal("the service ended without a status"));
    headers.extend(renamed(trailers));
    if ended.code() != Code::Ok {
        return refusal(&ended, headers, call.compresses, schema);
    }
    let message = frames.next(usize::MAX).ok().flatten();
    let message = message.and_then(|frame| call.method.answer(call.protocol.codec, frame.message));
    match message {
        Some(message) => success(message, headers, call),
        None => {
            let ended = Status::internal("the service sent an invalid answer");
            refusal(&ended, headers, call.compresses, schema)
        }
    }
}

/// An error, with the headers that a service gave.
pub(crate) fn refusal(
    status: &Status,
    mut headers: HeaderMap,
    compresses: bool,
    schema: &Schema,
) -> Response<Body> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = Bytes::from(error(status, schema).to_string());
    let mut answer = finish(body, headers, compresses);
    *answer.status_mut() = http_status(status.code());
    answer
}

fn success(message: Bytes, mut headers: HeaderMap, call: &Call) -> Response<Body> {
    let content_type = HeaderValue::from_static(call.protocol.content_type);
    headers.insert(CONTENT_TYPE, content_type);
    finish(message, headers, call.compresses)
}

fn finish(body: Bytes, mut headers: HeaderMap, compresses: bool) -> Response<Body> {
    let compressed = compresses.then(|| compress(&body)).flatten();
    if compressed.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(GZIP));
    }
    let body = Full::new(compressed.unwrap_or(body));
    let mut answer = Response::new(Body::new(body));
    for name in STATUS {
        headers.remove(name);
    }
    *answer.headers_mut() = headers;
    answer
}

/// Trailers as headers.
fn renamed(trailers: HeaderMap) -> HeaderMap {
    let mut renamed = HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers.iter().filter(|(name, _)| !STATUS.contains(&name.as_str())) {
        if let Ok(name) = HeaderName::try_from(format!("{TRAILER}{name}")) {
            renamed.append(name, value.clone());
        }
    }
    renamed
}
