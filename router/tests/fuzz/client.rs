//! Connections that are used as long as they last, one for each version of HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::request::{Case, Damage};

/// How long the body of an answer is waited for: a stream may have no end.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// Whether it has ended.
    pub(crate) is_whole: bool,
}

/// The connections.
pub(crate) struct Clients {
    router: SocketAddr,
    http1: Option<http1::SendRequest<Full<Bytes>>>,
    http2: Option<http2::SendRequest<Full<Bytes>>>,
}

impl Clients {
    pub(crate) fn new(router: SocketAddr) -> Self {
        Self { router, http1: None, http2: None }
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    /// When the connection breaks before that.
    pub(crate) async fn exchange(&mut self, case: &Case) -> Result<Answered, hyper::Error> {
        let request = case.request();
        let answer = if case.is_http2 {
            self.on_http2(request).await?
        } else {
            self.on_http1(request).await?
        };
        if case.damage == Damage::TooLarge {
            // The router does not read what is left of it.
            self.http1 = None;
        }
        let (head, mut body) = answer.into_parts();
        let mut answered = Answered {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            trailers: HeaderMap::new(),
            is_whole: false,
        };
        let reading = async {
            while let Some(frame) = body.frame().await {
                match frame?.into_data() {
                    Ok(data) => answered.body.extend_from_slice(&data),
                    Err(last) => answered.trailers = last.into_trailers().unwrap_or_default(),
                }
            }
            Ok::<(), hyper::Error>(())
        };
        let read = timeout(STREAM_PATIENCE, reading).await;
        match read {
            Ok(read) => {
                read?;
                answered.is_whole = true;
            }
            // What is left of it would come before the next answer.
            Err(_) => self.http1 = None,
        }
        Ok(answered)
    }

    async fn on_http1(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<http::Response<hyper::body::Incoming>, hyper::Error> {
        request.headers_mut().insert("host", HeaderValue::from_static("router"));
        let mut sender = match self.http1.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect1().await,
        };
        if sender.ready().await.is_err() {
            sender = self.connect1().await;
        }
        let answer = sender.send_request(request).await;
        self.http1 = Some(sender);
        answer
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.router).await.expect("the router listens");
        // Otherwise a small frame waits for the acknowledgement of the one before.
        stream.set_nodelay(true).expect("the socket is open");
        stream
    }

    async fn connect1(&self) -> http1::SendRequest<Full<Bytes>> {
        let stream = self.connect().await;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.expect("the router speaks HTTP/1.1");
        tokio::spawn(connection);
        sender
    }

    async fn on_http2(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<http::Response<hyper::body::Incoming>, hyper::Error> {
        let uri = format!("http://router{}", request.uri());
        *request.uri_mut() = uri.parse().expect("it was one");
        let mut sender = match self.http2.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect2().await,
        };
        let answer = sender.send_request(request).await;
        self.http2 = Some(sender);
        answer
    }

    async fn connect2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = self.connect().await;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("the router speaks HTTP/2");
        tokio::spawn(connection);
        sender
    }
}
