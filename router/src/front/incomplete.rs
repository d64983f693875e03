//! The bytes of requests that have not arrived as a whole. A request has a permit as soon as its headers are there, and
//! what it has sent so far is held until the rest comes: so these bytes are bounded, for each connection and in all.
//! Beyond a bound, the request whose bytes came last is refused.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use crate::answer::error::Fault;

/// Maximum number of such bytes of one connection: eight of the largest batches.
const CONNECTION_BYTES_MAX: usize = 16 << 20;

/// Maximum number of such bytes of all connections.
const ALL_BYTES_MAX: usize = 128 << 20;

/// Counts the bytes of the incomplete requests of one connection, and of all.
#[derive(Debug, Clone, Default)]
pub(super) struct Incomplete {
    all: Arc<AtomicUsize>,
    connection: Arc<AtomicUsize>,
}

impl Incomplete {
    /// The same for another connection.
    pub(super) fn of_connection(&self) -> Self {
        Self { all: Arc::clone(&self.all), connection: Arc::default() }
    }

    /// A request body. If it has one message, its bytes count until it has arrived as a whole; the messages of a stream
    /// are not kept.
    pub(super) fn count<B>(&self, body: B, is_stream: bool) -> Arriving<B> {
        Arriving { body, counts: (!is_stream).then(|| self.clone()), held: 0 }
    }

    fn hold(&self, bytes: usize) -> bool {
        let all = self.all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let connection = self.connection.fetch_add(bytes, Ordering::Relaxed) + bytes;
        all <= ALL_BYTES_MAX && connection <= CONNECTION_BYTES_MAX
    }

    fn release(&self, bytes: usize) {
        self.all.fetch_sub(bytes, Ordering::Relaxed);
        self.connection.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A request body that is arriving.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    body: B,
    counts: Option<Incomplete>,
    held: usize,
}

impl<B> Arriving<B> {
    /// Counts bytes. False beyond a bound.
    fn hold(&mut self, bytes: usize) -> bool {
        let Some(counts) = &self.counts else { return true };
        self.held += bytes;
        counts.hold(bytes)
    }

    /// The bytes count no more.
    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        if let Some(counts) = self.counts.as_ref().filter(|_| held > 0) {
            counts.release(held);
        }
    }
}

impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        self.release();
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
                this.release();
                return Poll::Ready(ended.map(|failed| failed.map_err(Into::into)));
            }
        };
        // Nearly all requests arrive in one piece, and cost nothing here.
        if this.body.is_end_stream() {
            this.release();
        } else if frame.data_ref().is_some_and(|data| !this.hold(data.len())) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_connection_and_of_all_are_bounded() {
        let first = Incomplete::default();
        assert!(first.hold(CONNECTION_BYTES_MAX));
        assert!(!first.hold(1));
        first.release(1);
        let others: Vec<Incomplete> =
            (1..ALL_BYTES_MAX / CONNECTION_BYTES_MAX).map(|_| first.of_connection()).collect();
        assert!(others.iter().all(|other| other.hold(CONNECTION_BYTES_MAX)));
        let late = first.of_connection();
        assert!(!late.hold(1), "there is room in the connection, and none in all");
        late.release(1);
        first.release(CONNECTION_BYTES_MAX);
        assert!(late.hold(1));
    }
}
