//! Which states a replica is sending to others at the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Time after a transfer in which it still counts: the receiver has the state then, and is about to ask for the
/// entries behind it.
const LINGER: Duration = Duration::from_secs(5);

/// The number of transfers under way. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct StateTransfers(Arc<AtomicUsize>);

impl StateTransfers {
    /// Whether there are any. A receiver needs the entries behind the state that it is sent.
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Notes a transfer, until the guard is dropped and [`LINGER`] is over.
    pub(super) fn begin(&self) -> Transfer {
        self.0.fetch_add(1, Ordering::Relaxed);
        Transfer(self.0.clone())
    }
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer(Arc<AtomicUsize>);

impl Drop for Transfer {
    fn drop(&mut self) {
        let transfers = self.0.clone();
        let end = move || transfers.fetch_sub(1, Ordering::Relaxed);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                end();
            })),
            // The node has stopped.
            Err(_) => drop(end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_transfer_counts_a_little_longer_than_it_takes() {
        let transfers = StateTransfers::default();
        assert!(!transfers.any());
        let (one, other) = (transfers.begin(), transfers.begin());
        drop(one);
        tokio::time::sleep(2 * LINGER).await;
        assert!(transfers.any());
        drop(other);
        tokio::time::sleep(LINGER / 2).await;
        assert!(transfers.any());
        tokio::time::sleep(LINGER).await;
        assert!(!transfers.any());
    }
}
