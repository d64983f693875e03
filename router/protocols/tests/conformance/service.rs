//! The service: it answers in gRPC as it is asked to, and says what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use coupon_accept::Acceptor;
use coupon_protocols::{
    CallBody, ConnectionRules, Cors, Refusal, Rules, Schema, Translator, is_grpc, serve,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::{Code, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::messages::{Answer, Ask, DESCRIPTORS, Header};

/// Bound of a request.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Bound of the items in its repeated fields.
pub(crate) const REQUEST_ITEMS_MAX: usize = 1_000;

pub(crate) const PATH: &str = "/conformance.v1.ConformanceService/";

/// The layer under test, in front of nothing.
pub(crate) fn translator() -> Translator {
    let rules = Rules {
        request_bytes_max: |_| REQUEST_BYTES_MAX,
        request_items_max: |_| REQUEST_ITEMS_MAX,
        explain: |refusal: Refusal| refusal.status(),
    };
    let schema = Schema::new(&[&DESCRIPTORS]).expect("the descriptors are right");
    let origins = ["https://allowed.example".to_owned()];
    Translator::new(schema, rules, Cors::new(origins))
}

/// Starts a server that runs as long as the test.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
    let address = listener.local_addr().expect("it listens");
    let translator = translator();
    let service = move |_: &TcpStream| {
        let translator = translator.clone();
        move |request: Request<Incoming>| {
            let translator = translator.clone();
            async move {
                let request = request.map(Body::new);
                Ok::<_, Infallible>(if is_grpc(&request) {
                    answer(request).await
                } else {
                    translator.answer(request, answer::<CallBody>).await
                })
            }
        }
    };
    let rules = ConnectionRules { age_max: Duration::from_hours(1), is_waited_for: |_| true };
    let acceptor = Acceptor::new(listener, usize::MAX);
    tokio::spawn(serve(acceptor, service, rules, std::future::pending()));
    address
}

/// Answers a call of gRPC within its deadline.
pub(crate) async fn answer<B>(request: Request<B>) -> http::Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError> + Send,
{
    let asked = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|asked| asked.strip_suffix('m')?.parse().ok());
    let patience = asked.map_or(Duration::from_secs(60), Duration::from_millis);
    let answer = timeout(patience, dispatch(request)).await;
    answer.unwrap_or_else(|_| Status::deadline_exceeded("too late").into_http())
}

async fn dispatch<B>(request: Request<B>) -> http::Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError> + Send,
{
    let mut grpc = Grpc::new(ProstCodec::<Answer, Ask>::default())
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let method = request.uri().path().strip_prefix(PATH).unwrap_or_default().to_owned();
    let answer = match method.as_str() {
        "Unary" | "IdempotentUnary" => grpc.unary(service_fn(unary), request).await,
        "ServerStream" => grpc.server_streaming(service_fn(server_stream), request).await,
        "ClientStream" => grpc.client_streaming(service_fn(client_stream), request).await,
        "BidiStream" => grpc.streaming(service_fn(bidi_stream), request).await,
        _ => Status::unimplemented("there is no such method").into_http(),
    };
    with_trailers(answer)
}

/// Trailers of an answer, which the framework has no place for.
#[derive(Clone)]
struct Trailers(HeaderMap);

fn with_trailers(answer: http::Response<Body>) -> http::Response<Body> {
    let Some(Trailers(more)) = answer.extensions().get().cloned() else { return answer };
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                trailers.extend(more.clone());
                http_body::Frame::trailers(trailers)
            }
            Err(frame) => frame,
        }))
    })
}

type Answers = BoxStream<'static, Result<Answer, Status>>;

async fn unary(request: tonic::Request<Ask>) -> Result<Response<Answer>, Status> {
    let (metadata, _, ask) = request.into_parts();
    one(&metadata, ask, 1).await
}

async fn client_stream(
    request: tonic::Request<Streaming<Ask>>,
) -> Result<Response<Answer>, Status> {
    let (metadata, _, asks) = request.into_parts();
    let asks: Vec<Ask> = asks.try_collect().await?;
    let requests = u32::try_from(asks.len()).expect("tests send few");
    one(&metadata, asks.into_iter().next().unwrap_or_default(), requests).await
}

async fn one(metadata: &MetadataMap, ask: Ask, requests: u32) -> Result<Response<Answer>, Status> {
    sleep(Duration::from_millis(ask.delay_ms.into())).await;
    if let Some(status) = failure(&ask) {
        return Err(status);
    }
    let data = ask.data.first().cloned().unwrap_or_default();
    Ok(with_headers(Answer { data, requests, ..seen(metadata, &ask) }, &ask))
}

async fn server_stream(request: tonic::Request<Ask>) -> Result<Response<Answers>, Status> {
    let (metadata, _, ask) = request.into_parts();
    sleep(Duration::from_millis(ask.delay_ms.into())).await;
    let ended = failure(&ask);
    if let (Some(status), true) = (&ended, ask.data.is_empty()) {
        return Err(status.clone());
    }
    let answers = answers(&metadata, &ask, 1).chain(futures::stream::iter(ended.map(Err)));
    Ok(with_headers(answers.boxed(), &ask))
}

async fn bidi_stream(request: tonic::Request<Streaming<Ask>>) -> Result<Response<Answers>, Status> {
    let (metadata, _, asks) = request.into_parts();
    let answers = asks.map_ok(move |ask| answers(&metadata, &ask, 1)).try_flatten();
    Ok(Response::new(answers.boxed()))
}

fn answers(metadata: &MetadataMap, ask: &Ask, requests: u32) -> Answers {
    let answer = seen(metadata, ask);
    let answers = ask.data.clone().into_iter();
    let answers = answers.map(move |data| Ok(Answer { data, requests, ..answer.clone() }));
    futures::stream::iter(answers).boxed()
}

fn seen(metadata: &MetadataMap, ask: &Ask) -> Answer {
    let headers = metadata.clone().into_headers();
    let names = headers.keys().filter(|name| name.as_str().starts_with("x-"));
    let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let seen = names.map(|name| Header {
        name: name.as_str().to_owned(),
        values: headers.get_all(name).iter().map(value).collect(),
    });
    Answer {
        seen: seen.collect(),
        timeout: headers.get("grpc-timeout").map(value).unwrap_or_default(),
        big_number: ask.big_number,
        kind: ask.kind,
        ..Answer::default()
    }
}

fn failure(ask: &Ask) -> Option<Status> {
    let failure = ask.failure.clone()?;
    let code = Code::from_i32(failure.code);
    let details = tonic_types::pb::Status {
        code: failure.code,
        message: failure.message.clone(),
        details: failure.details,
    };
    let details = if details.details.is_empty() {
        Vec::new()
    } else {
        prost::Message::encode_to_vec(&details)
    };
    let trailers = MetadataMap::from_headers(map(&ask.trailers));
    Some(Status::with_details_and_metadata(code, failure.message, details.into(), trailers))
}

fn with_headers<T>(answer: T, ask: &Ask) -> Response<T> {
    let mut answer = Response::new(answer);
    *answer.metadata_mut() = MetadataMap::from_headers(map(&ask.headers));
    answer.extensions_mut().insert(Trailers(map(&ask.trailers)));
    answer
}

fn map(headers: &[Header]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for Header { name, values } in headers {
        let name = HeaderName::try_from(name).expect("tests use good names");
        for value in values {
            map.append(name.clone(), HeaderValue::try_from(value).expect("tests use good values"));
        }
    }
    map
}
