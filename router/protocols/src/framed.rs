//! The answer in frames: each message translated as it comes, and the trailers in the form of the protocol.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame as HttpFrame;
use http_body_util::Full;
use tonic::Status;
use tonic::body::Body;

use crate::call::Call;
use crate::connect::{STATUS, stream};
use crate::frames::{COMPRESSED, Frame, FrameReader};
use crate::grpc_web;
use crate::gzip::{GZIP, compress};
use crate::protocol::{Form, Protocol};
use crate::schema::Schema;
use crate::text;

/// Translates the answer of a service.
pub(crate) fn answer(answer: Response<Body>, call: Call, schema: Schema) -> Response<Body> {
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return without_message(&status, answer, call.protocol, &schema);
    }
    let (mut head, body) = answer.into_parts();
    let protocol = call.protocol;
    if call.compresses {
        let header = HeaderName::from_static(protocol.form.encoding_header());
        head.headers.insert(header, HeaderValue::from_static(GZIP));
    }
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(protocol.content_type));
    let frames = FrameReader::default();
    let body = FramedAnswer { arriving: Some(body), frames, call, schema };
    Response::from_parts(head, Body::new(body))
}

/// An error that no service made.
pub(crate) fn refusal(status: &Status, protocol: Protocol, schema: &Schema) -> Response<Body> {
    without_message(status, status.clone().into_http(), protocol, schema)
}

/// An answer whose headers are its trailers. gRPC and gRPC-Web have a form for it; Connect has not.
fn without_message(
    status: &Status,
    mut answer: Response<Body>,
    protocol: Protocol,
    schema: &Schema,
) -> Response<Body> {
    if protocol.form == Form::ConnectStream {
        let mut trailers = std::mem::take(answer.headers_mut());
        trailers.remove(CONTENT_TYPE);
        let end = stream::end(status, &trailers, schema).encode();
        answer = Response::new(Body::new(Full::new(end)));
    }
    let content_type = HeaderValue::from_static(protocol.content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// The body of such an answer.
#[derive(Debug)]
struct FramedAnswer {
    /// What a service still has to say.
    arriving: Option<Body>,
    frames: FrameReader,
    call: Call,
    schema: Schema,
}

impl FramedAnswer {
    /// The next message as the client wants it.
    fn take(&mut self) -> Result<Option<Frame>, Status> {
        let Ok(Some(frame)) = self.frames.next(usize::MAX) else { return Ok(None) };
        let answer = self.call.method.answer(self.call.protocol.codec, frame.message);
        let broken = || Status::internal("the service sent an invalid answer");
        let message = answer.ok_or_else(broken)?;
        let compressed = self.call.compresses.then(|| compress(&message)).flatten();
        Ok(Some(match compressed {
            Some(message) => Frame { flags: COMPRESSED, message },
            None => Frame::plain(message),
        }))
    }

    /// Ends with what a service said last.
    fn end(&mut self, trailers: HeaderMap) -> HttpFrame<Bytes> {
        self.arriving = None;
        let last = match self.call.protocol.form {
            Form::Grpc => return HttpFrame::trailers(trailers),
            Form::GrpcWeb | Form::GrpcWebText => grpc_web::end(&trailers),
            Form::ConnectStream | Form::ConnectUnary => {
                let status = Status::from_header_map(&trailers);
                let status = status.unwrap_or_else(no_status);
                stream::end(&status, &trailers, &self.schema)
            }
        };
        self.data(&last)
    }

    /// Ends with an error that a service did not make.
    fn fail(&mut self, status: &Status) -> HttpFrame<Bytes> {
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(STATUS[0], HeaderValue::from(status.code() as i32));
        }
        self.end(trailers)
    }

    fn data(&self, frame: &Frame) -> HttpFrame<Bytes> {
        let encoded = frame.encode();
        HttpFrame::data(match self.call.protocol.form {
            Form::GrpcWebText => text::encode(&encoded),
            Form::Grpc | Form::GrpcWeb | Form::ConnectStream | Form::ConnectUnary => encoded,
        })
    }
}

fn no_status() -> Status {
    Status::internal("the service ended without a status")
}

impl http_body::Body for FramedAnswer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Status>>> {
        let this = &mut *self;
        let sent = loop {
            match this.take() {
                Ok(Some(frame)) => break this.data(&frame),
                Ok(None) => {}
                Err(status) => break this.fail(&status),
            }
            let Some(arriving) = &mut this.arriving else { return Poll::Ready(None) };
            match ready!(Pin::new(arriving).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.frames.push(&data),
                    Err(last) => break this.end(last.into_trailers().unwrap_or_default()),
                },
                Some(Err(status)) => break this.fail(&status),
                None => break this.fail(&no_status()),
            }
        };
        Poll::Ready(Some(Ok(sent)))
    }

    fn is_end_stream(&self) -> bool {
        self.arriving.is_none()
    }
}
