//! Stops a node: it transfers its leaderships, stops serving, then stops its replicas and closes its storage.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Node;
use crate::shard::leadership_transfer::transfer_leadership;
use crate::storage::fatal;

/// Pause between attempts to transfer a leadership that no follower was able to take.
const TRANSFER_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum time that a stopping node tries to transfer leaderships; afterwards the others elect.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

impl Node {
    /// Transfers every leadership, or gives up after some seconds.
    pub async fn transfer_leadership(&self) {
        // The reconcilers must not let a replica stand for election again.
        self.registry.begin_stop();
        let replicas = self.registry.all();
        for replica in &replicas {
            replica.raft.allow_election(false);
        }
        let handed = async {
            loop {
                let mut leads = false;
                for replica in replicas.iter().filter(|replica| replica.raft.leads_replaceably()) {
                    let distrusted = self.clock.verdict().distrusted_peers;
                    leads |= !transfer_leadership(replica, None, &distrusted).await;
                }
                if !leads {
                    return;
                }
                tokio::time::sleep(TRANSFER_INTERVAL).await;
            }
        };
        if tokio::time::timeout(TRANSFER_TIMEOUT, handed).await.is_err() {
            tracing::warn!(
                "stopping although this node still leads: no other node became leader in time"
            );
        }
    }

    /// Cancelled once the node stops; whatever would go on for ever ends then.
    pub fn stopping(&self) -> CancellationToken {
        self.stopped.clone()
    }

    /// Ends everything that serves others. The replicas go on.
    pub fn begin_stop(&self) {
        self.registry.begin_stop();
        self.stopped.cancel();
    }

    /// Stops the replicas and closes the storage.
    pub async fn halt(&self) {
        let starting = self.replicas.lock().take();
        if let Some(starting) = starting
            && let Err(error) = starting.await
        {
            tracing::error!(%error, "the replicas were not all started");
        }
        for replica in self.registry.all() {
            replica.raft.stop().await;
        }
        let (storage, workers) = (self.storage.clone(), self.workers.clone());
        let closing = tokio::task::spawn_blocking(move || {
            workers.stop();
            storage.close()
        });
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => fatal::abort("closing the storage", &fault),
            Err(error) => tracing::error!(%error, "the storage was not closed"),
        }
    }
}
