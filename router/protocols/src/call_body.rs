//! The body of a request as a service gets it: gRPC frames, whatever the client sends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame as HttpFrame;
use tonic::Status;
use tonic::body::Body;

use crate::frames::{COMPRESSED, Frame, FrameReader};
use crate::gzip::Encoding;
use crate::protocol::{Codec, Form};
use crate::refusal::Refusal;
use crate::schema::Method;
use crate::text::TextReader;

/// What is needed to read messages.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) method: Arc<Method>,
    pub(crate) form: Form,
    pub(crate) codec: Codec,
    pub(crate) encoding: Encoding,
    /// Bound of a message, as it is sent and after decompression.
    pub(crate) bytes_max: usize,
    /// Bound of the items in its repeated fields.
    pub(crate) items_max: usize,
    /// Makes a status of a refusal.
    pub(crate) explain: fn(Refusal) -> Status,
}

/// The body of a request, translated while it arrives. What cannot be translated ends it with a status, which the
/// service answers with.
#[derive(Debug)]
pub struct CallBody {
    /// What is still to come.
    arriving: Option<Body>,
    arrived: Arrived,
    reading: Reading,
    messages: u64,
}

/// What has arrived and is not passed on yet.
#[derive(Debug)]
enum Arrived {
    /// A message without a frame, which ends with the body.
    Part(BytesMut),
    /// Such a message as a whole.
    Message(Bytes),
    /// Messages in frames.
    Frames(FrameReader),
    /// Such messages in base64.
    Text(TextReader, FrameReader),
    /// Nothing more is passed on.
    Nothing,
}

impl CallBody {
    /// Reads a body.
    pub(crate) fn new(body: Body, reading: Reading) -> Self {
        let arrived = match reading.form {
            Form::ConnectUnary => Arrived::Part(BytesMut::new()),
            Form::Grpc | Form::GrpcWeb | Form::ConnectStream => {
                Arrived::Frames(FrameReader::default())
            }
            Form::GrpcWebText => Arrived::Text(TextReader::default(), FrameReader::default()),
        };
        Self { arriving: Some(body), arrived, reading, messages: 0 }
    }

    /// Reads a message that came in another way.
    pub(crate) fn of_message(message: Bytes, reading: Reading) -> Self {
        Self { arriving: None, arrived: Arrived::Message(message), reading, messages: 0 }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let bytes_max = self.reading.bytes_max;
        match &mut self.arrived {
            Arrived::Part(part) => {
                if part.len() + data.len() > bytes_max {
                    return Err(Refusal::TooLarge { bytes_max });
                }
                part.extend_from_slice(data);
            }
            Arrived::Frames(frames) => frames.push(data),
            Arrived::Text(text, frames) => frames.push(&text.read(data)?),
            Arrived::Message(_) | Arrived::Nothing => {}
        }
        Ok(())
    }

    /// The next message, ready for a service.
    fn take(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Reading { codec, encoding, bytes_max, items_max, .. } = self.reading;
        let message = match &mut self.arrived {
            Arrived::Message(message) => {
                let message = std::mem::take(message);
                self.arrived = Arrived::Nothing;
                encoding.decompress(message, bytes_max)?
            }
            Arrived::Frames(frames) | Arrived::Text(_, frames) => {
                let Some(Frame { flags, message }) = frames.next(bytes_max)? else {
                    return Ok(None);
                };
                match (flags, encoding) {
                    (0, _) => message,
                    (COMPRESSED, Encoding::Gzip) => encoding.decompress(message, bytes_max)?,
                    (COMPRESSED, Encoding::Identity) => return Err(Refusal::NoEncoding),
                    _ => {
                        return Err(Refusal::invalid(
                            "a frame must begin with 0, or with 1 if its message is compressed",
                        ));
                    }
                }
            }
            Arrived::Part(_) | Arrived::Nothing => return Ok(None),
        };
        self.messages += 1;
        if self.messages > 1 && !self.reading.method.is_client_streaming {
            return Err(one_message());
        }
        let message = self.reading.method.request(codec, message, items_max)?;
        Ok(Some(Frame::plain(message).encode()))
    }

    /// The body has arrived as a whole.
    fn finish(&mut self) -> Result<(), Refusal> {
        match &mut self.arrived {
            Arrived::Part(part) => {
                self.arrived = Arrived::Message(std::mem::take(part).freeze());
                return Ok(());
            }
            Arrived::Text(text, frames) => {
                text.finish()?;
                ends_with_frame(frames)?;
            }
            Arrived::Frames(frames) => ends_with_frame(frames)?,
            Arrived::Message(_) | Arrived::Nothing => {}
        }
        self.arrived = Arrived::Nothing;
        if self.messages == 0 && !self.reading.method.is_client_streaming {
            return Err(one_message());
        }
        Ok(())
    }

    /// Ends with a refusal.
    fn refuse(&mut self, refusal: Refusal) -> Status {
        self.arriving = None;
        self.arrived = Arrived::Nothing;
        (self.reading.explain)(refusal)
    }
}

fn one_message() -> Refusal {
    Refusal::Unsupported("the method takes exactly one message: send one".into())
}

fn ends_with_frame(frames: &FrameReader) -> Result<(), Refusal> {
    if frames.is_empty() { Ok(()) } else { Err(Refusal::invalid("the body ends within a frame")) }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            match this.take() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(HttpFrame::data(frame)))),
                Ok(None) => {}
                Err(refusal) => return Poll::Ready(Some(Err(this.refuse(refusal)))),
            }
            let Some(arriving) = &mut this.arriving else { return Poll::Ready(None) };
            let stepped = match ready!(Pin::new(arriving).poll_frame(context)) {
                // Trailers of a request mean nothing to any of the protocols.
                Some(Ok(frame)) => frame.data_ref().map_or(Ok(()), |data| this.push(data)),
                Some(Err(status)) => {
                    (this.arriving, this.arrived) = (None, Arrived::Nothing);
                    return Poll::Ready(Some(Err(status)));
                }
                None => {
                    this.arriving = None;
                    this.finish()
                }
            };
            if let Err(refusal) = stepped {
                return Poll::Ready(Some(Err(this.refuse(refusal))));
            }
        }
    }
}
