//! Parts of a stream on their way to a client.
//!
//! A task reads parts and hands them to the call, as far as the client takes them. What the stream holds of its router,
//! it gives back when the task ends: a client that takes nothing keeps it for [`CLIENT_PATIENCE`] at most.
//!
//! Caveat: what the client had not taken by then, at most two parts, stays in memory as long as its
//! connection keeps the call.

use std::pin::pin;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::limits::Stopping;
use crate::answer::error::Fault;

/// How long a stream waits for its client to take a part. Long for a reader that works on what it reads, and short for
/// the others that want the permit.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// How many parts wait for the client, beside the one that the task holds.
const PARTS_WAITING_MAX: usize = 1;

/// What a client receives.
pub(super) type Parts<T> = BoxStream<'static, Result<T, Status>>;

/// When a stream ends that has more to send: at a time, if there is one, and with the router.
pub(super) struct End {
    pub(super) at: Option<Instant>,
    pub(super) stopping: Stopping,
}

impl End {
    /// How long a client may take for a part.
    fn patience(&self) -> Duration {
        let left = self.at.map(|at| at.saturating_duration_since(Instant::now()));
        left.map_or(CLIENT_PATIENCE, |left| left.min(CLIENT_PATIENCE))
    }

    /// Waits for it.
    async fn come(&mut self) {
        let at = self.at;
        let time = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = self.stopping.wait() => {}
        }
    }
}

/// Hands parts to a client from a task of their own, which ends when all are sent, when the client is gone, when it has
/// taken nothing for [`CLIENT_PATIENCE`], or at the `end`. Then `broken` says that parts are missing.
pub(super) fn pump<T: Send + 'static>(
    parts: impl Stream<Item = Result<T, Fault>> + Send + 'static,
    mut end: End,
    broken: Fault,
) -> Parts<T> {
    let (sender, receiver) = mpsc::channel(PARTS_WAITING_MAX);
    tokio::spawn(async move {
        let mut parts = pin!(parts);
        loop {
            let part = tokio::select! {
                part = parts.try_next() => part,
                () = sender.closed() => return,
                () = end.come() => return,
            };
            let last = !matches!(part, Ok(Some(_)));
            match sender.send_timeout(part, end.patience()).await {
                Ok(()) if !last => {}
                Ok(()) | Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::info!("gave up a stream whose client takes too little");
                    return;
                }
            }
        }
    });
    let received = stream::try_unfold((receiver, broken), |(mut receiver, broken)| async {
        match receiver.recv().await {
            Some(Ok(part)) => Ok(part.map(|part| (part, (receiver, broken)))),
            Some(Err(fault)) => Err(fault.into_status()),
            // The task says when all is sent. It did not, so the client had its time.
            None => Err(broken.into_status()),
        }
    });
    received.boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
    use tonic_types::StatusExt as _;

    use super::*;

    const STREAM_TIME_MAX: Duration = Duration::from_secs(600);

    /// A stream without an end, and the one permit, which it holds.
    async fn endless() -> (Parts<u64>, Arc<Semaphore>) {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let parts = stream::repeat_with(|| Ok(1));
        (pump(holding(permit, parts), end(), Fault::StreamBroken), permits)
    }

    /// The end of a stream of a router that does not stop.
    fn end() -> End {
        let (sender, receiver) = watch::channel(false);
        // Kept for ever, since a router that is gone has stopped.
        std::mem::forget(sender);
        let at = Some(Instant::now() + STREAM_TIME_MAX);
        End { at, stopping: Stopping::new(receiver) }
    }

    fn holding<T>(
        permit: OwnedSemaphorePermit,
        parts: impl Stream<Item = T> + Send + 'static,
    ) -> impl Stream<Item = T> + Send + 'static {
        parts.inspect(move |_| {
            let _ = &permit;
        })
    }

    fn reason(status: &Status) -> String {
        status.get_details_error_info().unwrap().reason
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_permit_and_learns_that_parts_are_missing() {
        let (mut parts, permits) = endless().await;
        let begun = Instant::now();
        drop(permits.acquire().await.unwrap());
        assert_eq!(begun.elapsed().as_secs(), CLIENT_PATIENCE.as_secs());
        assert!(parts.next().await.unwrap().is_ok(), "what had been handed over is there");
        let broken = parts.next().await.unwrap().unwrap_err();
        assert_eq!(reason(&broken), "STREAM_BROKEN");
        assert!(parts.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_little_loses_its_permit_in_the_end() {
        let (mut parts, permits) = endless().await;
        let begun = Instant::now();
        let broken = loop {
            tokio::time::sleep(CLIENT_PATIENCE - Duration::from_secs(5)).await;
            match parts.next().await.unwrap() {
                Ok(_) => assert!(begun.elapsed() < STREAM_TIME_MAX + 3 * CLIENT_PATIENCE),
                Err(status) => break status,
            }
        };
        assert_eq!(reason(&broken), "STREAM_BROKEN");
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hangs_up_gives_its_permit_back_at_once() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let silent = stream::pending::<Result<u64, Fault>>();
        let parts = pump(holding(permit, silent), End { at: None, ..end() }, Fault::StreamBroken);
        let begun = Instant::now();
        drop(parts);
        drop(permits.acquire().await.unwrap());
        assert!(begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything() {
        let five = stream::repeat_with(|| Ok(1)).take(5);
        let mut parts = pump(five, end(), Fault::StreamBroken);
        for _ in 0..5 {
            tokio::time::sleep(CLIENT_PATIENCE - Duration::from_secs(1)).await;
            parts.next().await.unwrap().unwrap();
        }
        assert!(parts.next().await.is_none(), "the end is no error");
    }
}
