//! Random and damaged requests: each ends with an answer that says something, and nothing panics.

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt as _, Full, StreamBody};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::runtime::{Builder, Runtime};
use tonic::body::Body;

use crate::client::{frame, gzip};
use crate::service::{PATH, answer, translator};

const CONTENT_TYPES: [&str; 16] = [
    "application/grpc",
    "application/grpc+json",
    "application/grpc-web",
    "application/grpc-web+json",
    "application/grpc-web-text",
    "application/grpc-web-text+json",
    "application/proto",
    "application/json",
    "application/json; charset=utf-8",
    "application/connect+proto",
    "application/connect+json",
    "application/connect+foo",
    "text/plain",
    ";",
    "",
    "application/x-www-form-urlencoded",
];

const METHODS: [&str; 6] =
    ["Unary", "IdempotentUnary", "ServerStream", "ClientStream", "BidiStream", "Nothing"];

const HEADERS: [(&str, &str); 12] = [
    ("connect-timeout-ms", "20000"),
    ("connect-timeout-ms", "-"),
    ("connect-protocol-version", "3"),
    ("content-encoding", "gzip"),
    ("connect-content-encoding", "gzip"),
    ("grpc-encoding", "gzip"),
    ("grpc-encoding", "what"),
    ("accept-encoding", "gzip"),
    ("connect-accept-encoding", "gzip"),
    ("grpc-accept-encoding", "gzip"),
    ("grpc-timeout", "99999999H"),
    ("origin", "https://allowed.example"),
];

/// Bodies that are right for some protocol.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let message = select(vec![
        br#"{"bigNumber":"5","data":["AQ=="]}"#.to_vec(),
        br#"{"failure":{"code":5,"message":"x"}}"#.to_vec(),
        vec![0x12, 1, 7, 0x38, 5],
        Vec::new(),
    ]);
    (message, any::<bool>(), 0_u8..3).prop_map(|(message, is_gzip, frames)| {
        let message = if is_gzip { gzip(&message) } else { message };
        match frames {
            0 => message,
            count => frame(is_gzip.into(), &message).repeat(count.into()),
        }
    })
}

/// Bodies that were right before some bytes were changed, cut off or repeated.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<u8>(), 0_u8..3);
    (valid(), proptest::collection::vec(change, 0..4)).prop_map(|(mut body, changes)| {
        for (at, byte, kind) in changes {
            if body.is_empty() {
                break;
            }
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.truncate(at),
                _ => body.insert(at, byte),
            }
        }
        body
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => damaged(), 1 => proptest::collection::vec(any::<u8>(), 0..300)]
}

fn request() -> impl Strategy<Value = (Request<()>, Vec<u8>, usize)> {
    let query = prop_oneof![
        Just(String::new()),
        "\\?(encoding=(json|proto|x)&)?(base64=1&)?(compression=gzip&)?message=[a-zA-Z0-9%_=+-]{0,40}",
    ];
    let headers = proptest::collection::vec(select(HEADERS.as_slice()), 0..4);
    let verb = select(vec![Method::POST, Method::POST, Method::POST, Method::GET, Method::PUT]);
    let version = select(vec![Version::HTTP_11, Version::HTTP_2]);
    let called = (select(METHODS.as_slice()), query, select(CONTENT_TYPES.as_slice()));
    (verb, version, called, headers, body(), 1_usize..50).prop_map(
        |(verb, version, (method, query, content_type), headers, body, piece)| {
            let mut request = Request::builder().method(verb).version(version);
            request = request.uri(format!("{PATH}{method}{query}"));
            request = request.header("content-type", content_type);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            // A query with a lonely percent sign is no URI for the library, which is what a server would say.
            let request = request.body(()).unwrap_or_default();
            (request, body, piece)
        },
    )
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_request_gets_an_answer_that_says_something((request, body, piece) in request()) {
        let shown = format!("{request:?} {body:?}");
        let (status, headers, said, trailers) = runtime().block_on(async {
            let pieces: Vec<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
            let pieces = pieces.into_iter().map(|piece| Ok::<_, tonic::Status>(http_body::Frame::data(piece)));
            let request = request.map(|()| Body::new(StreamBody::new(futures::stream::iter(pieces))));
            let answer = translator().answer(request, answer).await;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.expect("an answer ends as it should");
            let trailers = body.trailers().cloned();
            (head.status, head.headers, body.to_bytes(), trailers)
        });
        let is_success = status == 200;
        let tells = !said.is_empty() || trailers.is_some() || headers.contains_key("grpc-status");
        // A message without fields is empty in protobuf.
        let is_empty_message = is_success && headers["content-type"] == "application/proto";
        prop_assert!(tells || is_empty_message, "{status} {headers:?}: {shown}");
        let is_internal = status == 500 || trailers.as_ref().or(Some(&headers)).and_then(|map| map.get("grpc-status")).is_some_and(|code| code == "13");
        prop_assert!(!is_internal || tells, "{shown}");
    }

    #[test]
    fn what_is_unpacked_is_bounded(size in 0_usize..400_000) {
        let packed = gzip(&vec![b' '; size]);
        let request = Request::post(format!("{PATH}Unary"))
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(Body::new(Full::new(Bytes::from(packed))))
            .expect("the request is right");
        let answer = runtime().block_on(translator().answer(request, answer));
        // Blanks alone are no message, and too many of them are too large.
        let expected = if size > crate::service::REQUEST_BYTES_MAX { 429 } else { 400 };
        prop_assert_eq!(answer.status(), expected);
    }
}
