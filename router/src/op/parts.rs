//! Parts of a stream on their way to a client.
//!
//! A task takes the parts and hands them to the call, as far as the client takes them. It holds a permit, and gives it
//! back when it ends: a client that takes nothing keeps one for [`CLIENT_PATIENCE`] at most.
//!
//! Caveat: what the client had not taken by then, at most two parts, stays in memory as long as its connection keeps
//! the call.

use std::pin::pin;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

use crate::answer::error::Fault;

/// How long a stream waits for its client to take a part. Long for a reader that works on what it reads, and short for
/// the others that want the permit.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// How many parts wait for the client, beside the one that the task holds.
const PARTS_WAITING_MAX: usize = 1;

/// What a client receives.
pub(super) type Parts<T> = BoxStream<'static, Result<T, Status>>;

/// Hands parts to a client from a task of their own, which ends when all are sent, when the client is gone, or when it
/// has taken nothing for too long: then `broken` is what it is told.
pub(super) fn pump<T: Send + 'static>(
    parts: impl Stream<Item = Result<T, Fault>> + Send + 'static,
    permit: OwnedSemaphorePermit,
    broken: Fault,
) -> Parts<T> {
    let (sender, receiver) = mpsc::channel(PARTS_WAITING_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        let mut parts = pin!(parts);
        loop {
            let part = tokio::select! {
                part = parts.try_next() => part,
                () = sender.closed() => return,
            };
            let last = !matches!(part, Ok(Some(_)));
            match sender.send_timeout(part, CLIENT_PATIENCE).await {
                Ok(()) if !last => {}
                Ok(()) | Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::info!("gave up a stream whose client takes nothing");
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

    use tokio::sync::Semaphore;
    use tokio::time::Instant;
    use tonic_types::StatusExt as _;

    use super::*;

    fn endless() -> impl Stream<Item = Result<u64, Fault>> {
        stream::repeat_with(|| Ok(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_permit_and_learns_that_parts_are_missing() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let mut parts = pump(endless(), permit, Fault::StreamBroken);
        let begun = Instant::now();
        drop(permits.acquire().await.unwrap());
        assert_eq!(begun.elapsed().as_secs(), CLIENT_PATIENCE.as_secs());
        assert!(parts.next().await.unwrap().is_ok(), "what had been handed over is there");
        let broken = parts.next().await.unwrap().unwrap_err();
        assert_eq!(broken.get_details_error_info().unwrap().reason, "STREAM_BROKEN");
        assert!(parts.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hangs_up_gives_its_permit_back_at_once() {
        let permits = Arc::new(Semaphore::new(1));
        let silent = stream::pending::<Result<u64, Fault>>();
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let parts = pump(silent, permit, Fault::StreamBroken);
        let begun = Instant::now();
        drop(parts);
        drop(permits.acquire().await.unwrap());
        assert!(begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything() {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let mut parts = pump(endless().take(5), permit, Fault::StreamBroken);
        for _ in 0..5 {
            tokio::time::sleep(CLIENT_PATIENCE - Duration::from_secs(1)).await;
            parts.next().await.unwrap().unwrap();
        }
        assert!(parts.next().await.is_none(), "the end is no error");
    }
}
