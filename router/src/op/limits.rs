//! How many requests are worked on at a time, and until when.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::answer::error::Fault;

/// When a request must have been answered. Found in the extensions of every request let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

/// The end of the router, for streams that would not end by themselves. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// The router stops when the sender is dropped.
    pub(crate) fn new() -> (watch::Sender<()>, Self) {
        let (running, stopping) = watch::channel(());
        (running, Self(stopping))
    }

    /// Returns once the router stops.
    pub(crate) async fn wait(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// The permits of the requests that are worked on. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    requests_max: usize,
}

impl Permits {
    /// Permits for `requests_max` requests at a time.
    pub(crate) fn new(requests_max: usize) -> Self {
        let requests_max = requests_max.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(requests_max)), requests_max }
    }

    /// A permit for one request; `None` when all are taken.
    pub(crate) fn for_request(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Permits for all requests of a batch, which itself has one already. A batch that is larger than
    /// the router may work on takes all permits there are, so that a router without other work answers it.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when there are not as many.
    pub(crate) fn for_batch(&self, requests: usize) -> Result<SemaphorePermit<'_>, Fault> {
        let more = requests.min(self.requests_max).saturating_sub(1);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.free.try_acquire_many(more).map_err(|_| Fault::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_a_permit_for_each_request_and_at_most_all() {
        let permits = Permits::new(4);
        let batch = permits.for_request().unwrap();
        let rest = permits.for_batch(1_000).unwrap();
        assert_eq!(permits.free.available_permits(), 0);
        assert!(matches!(permits.for_batch(2), Err(Fault::Overloaded)));
        drop((batch, rest));
        let other = permits.for_request().unwrap();
        let batch = permits.for_request().unwrap();
        assert!(permits.for_batch(4).is_err());
        assert!(permits.for_batch(3).is_ok());
        drop((other, batch));
    }
}
