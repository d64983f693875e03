//! The bytes of requests that have not arrived as a whole. A request has a permit as soon as its headers are there, and
//! what it has sent so far is held until the rest comes. Beyond a bound, the request whose bytes came last is refused.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::unary::FRAME_HEADER_BYTES;
use crate::answer::error::Fault;
use crate::op::memory::Occupied;

/// What a request body consists of.
#[derive(Debug)]
pub(super) enum Arrives {
    /// One message: all of it is kept until the body ends.
    Once,
    /// Any number of messages: each is kept until it has arrived as a whole. What is done with them is up to the method.
    InParts(Part),
}

/// A request body that is arriving.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    body: B,
    arrives: Arrives,
    occupied: Occupied,
}

impl<B> Arriving<B> {
    /// A body whose bytes are counted by `occupied`.
    pub(super) fn new(body: B, arrives: Arrives, occupied: Occupied) -> Self {
        Self { body, arrives, occupied }
    }
}

impl<B> Body for Arriving<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            ended => {
                this.occupied.set(0);
                return Poll::Ready(ended.map(|failed| failed.map_err(Into::into)));
            }
        };
        let held = match (frame.data_ref(), &mut this.arrives) {
            // Nearly all requests arrive in one piece, and cost nothing here.
            _ if this.body.is_end_stream() => 0,
            (None, _) => this.occupied.bytes(),
            (Some(data), Arrives::Once) => this.occupied.bytes() + data.len(),
            (Some(data), Arrives::InParts(part)) => {
                part.take(data);
                part.arrived
            }
        };
        if !this.occupied.set(held) {
            return Poll::Ready(Some(Err(Fault::Overloaded.into_status().into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The part of a stream's next message that has arrived: its header, which ends with its length, and itself.
#[derive(Debug, Default)]
pub(super) struct Part {
    arrived: usize,
    length: u32,
}

impl Part {
    /// Takes what has arrived.
    fn take(&mut self, data: &[u8]) {
        let mut rest = data;
        while let Some((first, behind)) = rest.split_first() {
            if self.arrived < FRAME_HEADER_BYTES {
                // The first byte, which says whether the message is compressed, leaves the length when the last one comes.
                self.length = self.length << 8 | u32::from(*first);
                self.arrived += 1;
                rest = behind;
            } else {
                let missing = FRAME_HEADER_BYTES + self.length as usize - self.arrived;
                let came = missing.min(rest.len());
                self.arrived += came;
                rest = &rest[came..];
            }
            if self.arrived == FRAME_HEADER_BYTES + self.length as usize {
                *self = Self::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_stream_only_the_message_that_is_arriving_counts() {
        let message = |bytes: u8| [vec![1, 0, 0, 0, bytes], vec![7; bytes.into()]].concat();
        let stream = [message(3), message(0), message(200), message(5)].concat();
        for piece_bytes in 1..stream.len() {
            let mut part = Part::default();
            for (piece, at) in stream.chunks(piece_bytes).zip((0..).step_by(piece_bytes)) {
                part.take(piece);
                let begun = [228, 218, 13, 8, 0]
                    .into_iter()
                    .find(|begin| *begin <= at + piece.len())
                    .unwrap();
                assert_eq!(part.arrived, at + piece.len() - begun, "pieces of {piece_bytes}");
            }
        }
    }
}
