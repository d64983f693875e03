//! Plain HTTP in both versions.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// An answer as a whole.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// Sends a request on a connection of its own.
pub(crate) async fn exchange(
    server: SocketAddr,
    is_http2: bool,
    mut request: Request<Full<Bytes>>,
) -> Answered {
    let stream = TcpStream::connect(server).await.expect("the server listens");
    let io = TokioIo::new(stream);
    let path = request.uri().clone();
    let answer = if is_http2 {
        *request.uri_mut() = format!("http://server{path}").parse().expect("it was one");
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.expect("the server speaks HTTP/2");
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        request.headers_mut().insert("host", http::HeaderValue::from_static("server"));
        let (mut sender, connection) =
            http1::handshake(io).await.expect("the server speaks HTTP/1.1");
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let (head, body) = answer.expect("the server answers").into_parts();
    let body = body.collect().await.expect("the answer ends as it should");
    let trailers = body.trailers().cloned().unwrap_or_default();
    let body = body.to_bytes();
    Answered { status: head.status, headers: head.headers, body, trailers }
}
