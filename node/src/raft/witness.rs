//! Detects that this replica has forgotten what it acknowledged.
//!
//! The sender of a message says what the receiver must have on disk, as far as it knows; a voter says so in
//! its answer too. So the loss is detected whichever of the two was restarted, and before the replica votes,
//! answers or counts anything.

use super::acknowledged::Acknowledged;
use super::log_store::LogStore;
use crate::storage::snapshot::ReplicaKey;
use crate::storage::{Storage, fatal};

/// What one replica knows of its own log and of the others'. Clones share it.
#[derive(Clone)]
pub struct Witness {
    storage: Storage,
    key: ReplicaKey,
    log: LogStore,
    known: Acknowledged,
}

impl Witness {
    /// Creates the witness of the replica with this log.
    pub fn new(storage: Storage, key: ReplicaKey, log: LogStore) -> Self {
        let known = log.acknowledged().clone();
        Self { storage, key, log, known }
    }

    /// The last committed index that another replica once had on disk; 0: not known.
    pub fn acknowledged_by(&self, replica: u64) -> u64 {
        self.known.of(replica)
    }

    /// Marks the store as lost and ends the process if this replica once had the entry at `index` on disk, as
    /// another replica says, but no longer has it.
    pub fn must_hold(&self, index: u64) {
        // A snapshot may have covered entries that the log does not hold.
        let last = self.log.last_index().max(self.known.applied());
        if index > last {
            self.forgot(&format!(
                "its replica {} of shard {} once acknowledged the entry at index {index}, but its log \
                 ends at {last}",
                self.key.replica, self.key.shard
            ));
        }
    }

    /// Marks the store as lost and ends the process.
    pub fn forgot(&self, why: &str) -> ! {
        let context = format!("the log of shard {}", self.key.shard);
        if let Err(fault) = self.storage.mark_lost(why) {
            tracing::error!(%fault, "the store could not be marked as lost");
        }
        let lost = format!(
            "this store has lost entries that it acknowledged: {why}. It never runs again; restart the \
             node, and a fresh store replaces it"
        );
        fatal::abort(&context, &lost)
    }
}
