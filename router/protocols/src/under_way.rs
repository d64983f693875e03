//! The calls under way, which the end of a server waits for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::Notify;

/// Counts calls. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<Calls>);

#[derive(Debug, Default)]
struct Calls {
    count: AtomicUsize,
    none: Notify,
}

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct CallUnderWay(Arc<Calls>);

impl UnderWay {
    /// Counts a call.
    pub(crate) fn begin(&self) -> CallUnderWay {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        CallUnderWay(Arc::clone(&self.0))
    }

    /// Whether no call is under way.
    pub(crate) fn is_none(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    /// Waits until no call is under way.
    pub(crate) async fn until_none(&self) {
        loop {
            let none = self.0.none.notified();
            if self.is_none() {
                return;
            }
            none.await;
        }
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

pin_project! {
    /// The body of an answer. Its call is under way until the body ends.
    pub(crate) struct CountedBody<B> {
        #[pin]
        body: B,
        _call: Option<CallUnderWay>,
    }
}

impl<B> CountedBody<B> {
    /// The body of the answer to a call, if the call counts.
    pub(crate) fn new(body: B, call: Option<CallUnderWay>) -> Self {
        Self { body, _call: call }
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
