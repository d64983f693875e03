//! How many requests are worked on at a time, and until when.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::answer::error::Fault;

/// When a request must have been answered. Found in the extensions of every request let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

/// Where a request comes from. Found in the extensions of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// Tells when the router stops. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// From what is set when the router stops, or dropped.
    pub(crate) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self(stopping)
    }

    /// Waits until the router stops.
    pub(crate) async fn wait(&mut self) {
        // An error says that the sender was dropped.
        let _ = self.0.wait_for(|is_stopping| *is_stopping).await;
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
