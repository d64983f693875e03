//! HTTP/2 without a client of gRPC, for calls that such a client does not make.

use std::collections::BTreeMap;

use bytes::Bytes;
use coupon_router::RouterHandle;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

/// A connection to a router.
#[derive(Clone)]
pub struct Http2 {
    requests: SendRequest<Bytes>,
}

/// How a request ends.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// With its last data.
    Data,
    /// With trailers.
    Trailers,
    /// It does not.
    Never,
}

/// A call that is being made.
pub struct Call {
    /// Sends the rest of the request.
    pub rest: SendStream<Bytes>,
    answer: ResponseFuture,
}

/// An answer as a whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub trailers: Option<BTreeMap<String, String>>,
}

impl Http2 {
    pub async fn connect(router: &RouterHandle) -> Self {
        let stream = TcpStream::connect(router.local_addr()).await.expect("the router listens");
        let (requests, connection) =
            h2::client::handshake(stream).await.expect("the router speaks HTTP/2");
        tokio::spawn(async {
            // Its end is for the calls to tell.
            let _ = connection.await;
        });
        Self { requests }
    }

    /// How many calls the router takes at a time on this connection.
    pub fn calls_max(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// Begins a call of a method of `CouponService`; `headers` come beside those that every call has.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn begin(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        data: &[&[u8]],
        ending: Ending,
    ) -> Result<Call, h2::Error> {
        let uri = format!("http://router/coupon.v1.CouponService/{method}");
        let mut request = Request::post(uri);
        if headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("the headers are valid");
        let mut requests = self.requests.clone().ready().await?;
        let has_body = !(data.is_empty() && matches!(ending, Ending::Data));
        let (answer, mut rest) = requests.send_request(request, !has_body)?;
        for (index, piece) in data.iter().enumerate() {
            let last = index + 1 == data.len() && matches!(ending, Ending::Data);
            rest.send_data(Bytes::copy_from_slice(piece), last)?;
        }
        if matches!(ending, Ending::Trailers) {
            let mut trailers = HeaderMap::new();
            trailers.insert("a-trailer", http::HeaderValue::from_static("1"));
            rest.send_trailers(trailers)?;
        }
        Ok(Call { rest, answer })
    }
}

impl Call {
    /// Waits for the answer.
    ///
    /// # Errors
    /// When the call or its connection broke.
    pub async fn answer(self) -> Result<Answered, h2::Error> {
        let (head, mut stream) = self.answer.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            body.extend_from_slice(&data);
            stream.flow_control().release_capacity(data.len())?;
        }
        let trailers = stream.trailers().await?;
        Ok(Answered {
            status: head.status.as_u16(),
            headers: texts(&head.headers),
            body,
            trailers: trailers.as_ref().map(texts),
        })
    }
}

impl Answered {
    /// The status of the call, wherever it stands.
    pub fn status(&self) -> tonic::Status {
        let fields = self.trailers.as_ref().unwrap_or(&self.headers);
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().expect("it was a header");
            map.insert(name, value.parse().expect("it was a header"));
        }
        tonic::Status::from_header_map(&map).expect("every answer has a status")
    }
}

/// A message in its frame.
pub fn frame(compressed: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages of tests are short");
    let mut frame = vec![compressed];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
