//! A client of every protocol, which shares no code with the server but that of JSON.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Full;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use prost_types::Any;
use serde_json::Value;
use tonic::{Code, Status};

use crate::http::{Answered, exchange};
use crate::messages::{Answer, Ask, POOL};
use crate::service::PATH;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Connect,
    GrpcWeb,
    GrpcWebText,
    Grpc,
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) protocol: Protocol,
    pub(crate) is_json: bool,
    pub(crate) is_http2: bool,
    pub(crate) is_gzip: bool,
}

/// What came of a call.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) details: Vec<Any>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
}

/// Calls a method.
pub(crate) async fn call(
    server: SocketAddr,
    manner: Manner,
    method: &str,
    asks: &[Ask],
    timeout_ms: Option<u64>,
    headers: &[(&'static str, &'static str)],
) -> Outcome {
    let Manner { protocol, is_json, is_http2, is_gzip } = manner;
    let is_unary = protocol == Protocol::Connect && method.ends_with("Unary");
    let content_type = match (protocol, is_json, is_unary) {
        (Protocol::Connect, true, true) => "application/json",
        (Protocol::Connect, false, true) => "application/proto",
        (Protocol::Connect, true, false) => "application/connect+json",
        (Protocol::Connect, false, false) => "application/connect+proto",
        (Protocol::GrpcWeb, true, _) => "application/grpc-web+json",
        (Protocol::GrpcWeb, false, _) => "application/grpc-web+proto",
        (Protocol::GrpcWebText, ..) => "application/grpc-web-text",
        (Protocol::Grpc, true, _) => "application/grpc+json",
        (Protocol::Grpc, false, _) => "application/grpc",
    };
    let encoding = match (protocol, is_unary) {
        (Protocol::Connect, true) => ("content-encoding", "accept-encoding"),
        (Protocol::Connect, false) => ("connect-content-encoding", "connect-accept-encoding"),
        _ => ("grpc-encoding", "grpc-accept-encoding"),
    };
    let mut request = Request::post(format!("{PATH}{method}")).header("content-type", content_type);
    if is_gzip {
        request = request.header(encoding.0, "gzip").header(encoding.1, "br, gzip");
    }
    if let Some(ms) = timeout_ms {
        request = match protocol {
            Protocol::Connect => request.header("connect-timeout-ms", ms.to_string()),
            Protocol::GrpcWeb | Protocol::GrpcWebText | Protocol::Grpc => {
                request.header("grpc-timeout", format!("{ms}m"))
            }
        };
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let encode = |ask: &Ask| {
        let message = if is_json { json("Ask", &ask.encode_to_vec()) } else { ask.encode_to_vec() };
        if is_gzip { gzip(&message) } else { message }
    };
    let body: Vec<u8> = if is_unary {
        encode(&asks[0])
    } else {
        asks.iter().flat_map(|ask| frame(is_gzip.into(), &encode(ask))).collect()
    };
    let body = if protocol == Protocol::GrpcWebText { STANDARD.encode(body).into() } else { body };
    let request = request.body(Full::new(Bytes::from(body))).expect("the request is right");
    let answered = exchange(server, is_http2, request).await;
    if is_unary { unary(answered, is_json) } else { framed(answered, manner) }
}

/// Reads the answer to a unary call of Connect.
pub(crate) fn unary(answered: Answered, is_json: bool) -> Outcome {
    let Answered { status, headers: all, body, .. } = answered;
    let body = match all.get("content-encoding") {
        Some(_) => gunzip(&body),
        None => body.to_vec(),
    };
    let (mut headers, mut trailers) = (HeaderMap::new(), HeaderMap::new());
    for (name, value) in &all {
        match name.as_str().strip_prefix("trailer-") {
            Some(name) => trailers
                .append(HeaderName::try_from(name).expect("it is fit for a header"), value.clone()),
            None => headers.append(name.clone(), value.clone()),
        };
    }
    if status == 200 {
        let message = if is_json { proto("Answer", &body) } else { body };
        let answers = vec![Answer::decode(&*message).expect("it is an answer")];
        return Outcome {
            code: Code::Ok,
            message: String::new(),
            details: Vec::new(),
            answers,
            headers,
            trailers,
        };
    }
    assert_eq!(all["content-type"], "application/json");
    let error: Value = serde_json::from_slice(&body).expect("an error is JSON");
    let (code, message, details) = error_of(&error);
    assert_eq!(status.as_u16(), http_status(code), "the status of HTTP is that of {code:?}");
    Outcome { code, message, details, answers: Vec::new(), headers, trailers }
}

/// Reads an answer in frames.
fn framed(answered: Answered, manner: Manner) -> Outcome {
    let Answered { status, headers, body, trailers: http_trailers } = answered;
    assert_eq!(status, 200);
    let body = match manner.protocol {
        Protocol::GrpcWebText => pieces(&body),
        Protocol::Connect | Protocol::GrpcWeb | Protocol::Grpc => body.to_vec(),
    };
    let (mut answers, mut end) = (Vec::new(), None);
    let mut rest = body.as_slice();
    while let Some((header, more)) = rest.split_at_checked(5) {
        assert!(end.is_none(), "nothing follows the end");
        let bytes =
            u32::from_be_bytes(header[1..].try_into().expect("a length has four bytes")) as usize;
        let (message, more) = more.split_at(bytes);
        rest = more;
        let message = if header[0] & 1 == 1 { gunzip(message) } else { message.to_vec() };
        if header[0] & !1 == 0 {
            let message = if manner.is_json { proto("Answer", &message) } else { message };
            answers.push(Answer::decode(&*message).expect("it is an answer"));
        } else {
            end = Some((header[0], message));
        }
    }
    assert!(rest.is_empty(), "the last frame is complete");
    let (code, message, details, trailers) = match (manner.protocol, end) {
        (Protocol::Connect, Some((2, end))) => end_of_stream(&end),
        (Protocol::Grpc, None) => {
            status_of(if http_trailers.is_empty() { &headers } else { &http_trailers })
        }
        (Protocol::GrpcWeb | Protocol::GrpcWebText, Some((0x80, end))) => status_of(&block(&end)),
        (Protocol::GrpcWeb | Protocol::GrpcWebText, None) => status_of(&headers),
        (_, end) => panic!("no such end: {end:?}"),
    };
    Outcome { code, message, details, answers, headers, trailers }
}

fn end_of_stream(end: &[u8]) -> (Code, String, Vec<Any>, HeaderMap) {
    let end: Value = serde_json::from_slice(end).expect("the end is JSON");
    let mut trailers = HeaderMap::new();
    for (name, values) in end["metadata"].as_object().into_iter().flatten() {
        for value in values.as_array().expect("values are a list") {
            let value = HeaderValue::try_from(value.as_str().expect("it is text"))
                .expect("it is fit for a header");
            trailers.append(HeaderName::try_from(name).expect("it is fit for a header"), value);
        }
    }
    let (code, message, details) = match end.get("error") {
        Some(error) => error_of(error),
        None => (Code::Ok, String::new(), Vec::new()),
    };
    (code, message, details, trailers)
}

fn status_of(trailers: &HeaderMap) -> (Code, String, Vec<Any>, HeaderMap) {
    let status = Status::from_header_map(trailers).expect("there is a status");
    let details = tonic_types::pb::Status::decode(status.details()).expect("details are a status");
    (status.code(), status.message().to_owned(), details.details, trailers.clone())
}

fn block(text: &[u8]) -> HeaderMap {
    let text = std::str::from_utf8(text).expect("trailers are text");
    let lines = text.split_terminator("\r\n").map(|line| line.split_once(": ").expect("a pair"));
    let mut block = HeaderMap::new();
    for (name, value) in lines {
        block.append(
            HeaderName::try_from(name).expect("it is fit for a header"),
            HeaderValue::try_from(value).expect("it is fit for a header"),
        );
    }
    block
}

fn error_of(error: &Value) -> (Code, String, Vec<Any>) {
    let name = error["code"].as_str().expect("an error has a code");
    let code = CODES.iter().find(|(_, known, _)| *known == name).expect("the code is known").0;
    let details = error["details"].as_array().into_iter().flatten().map(|detail| Any {
        type_url: format!("type.googleapis.com/{}", detail["type"].as_str().expect("it is text")),
        value: STANDARD_NO_PAD
            .decode(detail["value"].as_str().expect("it is text"))
            .expect("it is base64"),
    });
    (code, error["message"].as_str().unwrap_or_default().to_owned(), details.collect())
}

/// Codes, what Connect calls them, and their statuses of HTTP.
pub(crate) const CODES: [(Code, &str, u16); 16] = [
    (Code::Cancelled, "canceled", 499),
    (Code::Unknown, "unknown", 500),
    (Code::InvalidArgument, "invalid_argument", 400),
    (Code::DeadlineExceeded, "deadline_exceeded", 504),
    (Code::NotFound, "not_found", 404),
    (Code::AlreadyExists, "already_exists", 409),
    (Code::PermissionDenied, "permission_denied", 403),
    (Code::ResourceExhausted, "resource_exhausted", 429),
    (Code::FailedPrecondition, "failed_precondition", 400),
    (Code::Aborted, "aborted", 409),
    (Code::OutOfRange, "out_of_range", 400),
    (Code::Unimplemented, "unimplemented", 501),
    (Code::Internal, "internal", 500),
    (Code::Unavailable, "unavailable", 503),
    (Code::DataLoss, "data_loss", 500),
    (Code::Unauthenticated, "unauthenticated", 401),
];

fn http_status(code: Code) -> u16 {
    CODES.iter().find(|(known, ..)| *known == code).expect("the code is known").2
}

pub(crate) fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(message.len()).expect("messages of tests are short").to_be_bytes();
    [&[flags][..], &bytes, message].concat()
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

fn gunzip(data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(data).read_to_end(&mut plain).expect("it is gzip");
    plain
}

/// Text of gRPC-Web: groups of four, of which each may end in padding.
fn pieces(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| STANDARD.decode(group).expect("it is base64")).collect()
}

pub(crate) fn json(name: &str, message: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&dynamic(name, message)).expect("it can be written")
}

fn proto(name: &str, json: &[u8]) -> Vec<u8> {
    let kind = POOL.get_message_by_name(&format!("conformance.v1.{name}")).expect("it is known");
    let mut json = serde_json::Deserializer::from_slice(json);
    DynamicMessage::deserialize(kind, &mut json).expect("it is the JSON").encode_to_vec()
}

fn dynamic(name: &str, message: &[u8]) -> DynamicMessage {
    let kind = POOL.get_message_by_name(&format!("conformance.v1.{name}")).expect("it is known");
    DynamicMessage::decode(kind, message).expect("it is the message")
}
