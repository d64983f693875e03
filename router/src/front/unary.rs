//! A gRPC call with one message each way, without the framework: reads the request, writes the answer.
//!
//! Each message is in a frame: a byte that tells whether it is compressed, its length in four bytes, and itself.
//! What is malformed for the framework is malformed here, and the other way round; `tests/conformance.rs` compares
//! the two.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::Status;
use tower::BoxError;

use super::malformed::Malformed;

/// The size of what stands before each message: whether it is compressed, and its length.
pub(super) const FRAME_HEADER_BYTES: usize = 5;

const NOT_COMPRESSED: u8 = 0;

static GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

static OK: HeaderValue = HeaderValue::from_static("0");

/// Reads a request to its end and decodes its message. Further messages must be valid, and are ignored.
///
/// # Errors
/// [`Malformed`] when a message is missing or larger than `bytes_max` bytes; the error of the body when it breaks off.
pub(super) async fn read<M, B>(mut body: B, bytes_max: usize) -> Result<M, Status>
where
    M: Message + Default,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let refuse = |malformed: Malformed| malformed.fault(bytes_max).into_status();
    let mut first = None;
    let mut unread = Bytes::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        let Ok(data) = frame.into_data() else {
            // Trailers end a request, and part of a message before them does not count.
            unread.clear();
            break;
        };
        append(&mut unread, data);
        while let Some(message) = split_message(&mut unread, bytes_max).map_err(refuse)? {
            let message = M::decode(message).map_err(|_| refuse(Malformed::NoMessage))?;
            first.get_or_insert(message);
        }
    }
    first.filter(|_| unread.is_empty()).ok_or_else(|| refuse(Malformed::NoMessage))
}

/// Adds what arrived to what is not read yet. A message that arrives in one piece, as nearly all do, is not copied.
fn append(unread: &mut Bytes, data: Bytes) {
    if unread.is_empty() {
        *unread = data;
        return;
    }
    let joined = std::mem::take(unread).try_into_mut();
    let mut joined = joined.unwrap_or_else(|shared| BytesMut::from(&*shared));
    joined.extend_from_slice(&data);
    *unread = joined.freeze();
}

/// Takes the next message, still encoded, if it has arrived as a whole.
///
/// # Errors
/// [`Malformed`] when its frame says that it is too large, or compressed.
fn split_message(unread: &mut Bytes, bytes_max: usize) -> Result<Option<Bytes>, Malformed> {
    let Some((header, rest)) = unread.split_at_checked(FRAME_HEADER_BYTES) else { return Ok(None) };
    let mut header = header;
    // No request with an encoding comes here.
    if header.get_u8() != NOT_COMPRESSED {
        return Err(Malformed::NoMessage);
    }
    let bytes = header.get_u32() as usize;
    if bytes > bytes_max {
        return Err(Malformed::TooLarge);
    }
    if rest.len() < bytes {
        return Ok(None);
    }
    unread.advance(FRAME_HEADER_BYTES);
    Ok(Some(unread.split_to(bytes)))
}

/// The answer of a call that succeeded.
pub(super) fn answer(message: &impl Message) -> Response<AnswerBody> {
    let bytes = message.encoded_len();
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + bytes);
    frame.put_u8(NOT_COMPRESSED);
    frame.put_u32(u32::try_from(bytes).expect("an answer has much less than 4 GiB"));
    message.encode(&mut frame).expect("a Vec takes what it is given");
    let mut answer = Response::new(AnswerBody::Message(frame.into()));
    answer.headers_mut().insert(CONTENT_TYPE, GRPC.clone());
    answer
}

/// The body of an answer.
#[derive(Debug, Default)]
pub(super) enum AnswerBody {
    /// A message in its frame, and then trailers.
    Message(Bytes),
    /// Trailers, which say that the call succeeded.
    Trailers,
    /// Nothing.
    #[default]
    Empty,
    /// What a service of the framework answers, or what is translated.
    Routed(tonic::body::Body),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (frame, rest) = match &mut *self {
            Self::Message(frame) => (Frame::data(std::mem::take(frame)), Self::Trailers),
            Self::Trailers => (Frame::trailers(succeeded()), Self::Empty),
            Self::Empty => return Poll::Ready(None),
            Self::Routed(body) => return Pin::new(body).poll_frame(context),
        };
        *self = rest;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_) | Self::Trailers => false,
            Self::Empty => true,
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // An exact size would become a header, which gRPC does without.
            Self::Message(_) | Self::Trailers => SizeHint::default(),
            Self::Empty => SizeHint::with_exact(0),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

fn succeeded() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS.clone(), OK.clone());
    trailers
}
