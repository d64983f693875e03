//! Keeps Raft's clock at the pace that this node's disk and its peers allow.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{Replica, ShardMap};

use super::Node;
use crate::raft::pace::{self, Pacer};

/// Interval between two looks.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);
/// Number of looks without a sync, ten seconds, after which one is made on a slow disk: it may have recovered.
const IDLE_LOOKS: u32 = 20;

impl Node {
    /// How long a sync of this node's disk takes, typically, in microseconds.
    pub(super) fn sync_micros(&self) -> u32 {
        let sync = self.storage.flusher().typical_sync();
        u32::try_from(sync.as_micros()).unwrap_or(u32::MAX)
    }

    /// The pace of this node, as it is now.
    pub(super) fn pace(&self) -> Pacer {
        let pacer = Pacer::new();
        pacer.set(self.pace_wanted().0);
        pacer
    }

    /// Keeps the pace. It is logged when it changes much.
    pub(super) async fn keep_pace(self: Arc<Self>, pacer: Pacer) {
        let mut logged = 1;
        let (mut idle_looks, mut syncs_made) = (0, 0);
        loop {
            let (wanted, vote_time) = self.pace_wanted();
            pacer.set(wanted);
            if wanted >= 2 * logged || 2 * wanted <= logged {
                logged = wanted;
                let election_timeout = self.config.raft.election_timeout * wanted;
                let sync = self.storage.flusher().typical_sync();
                if wanted == 1 {
                    tracing::info!(?election_timeout, "elections are as fast as usual again");
                } else {
                    tracing::warn!(
                        ?sync,
                        ?vote_time,
                        ?election_timeout,
                        "disks or the network are slow: elections take longer"
                    );
                }
            }
            let made = self.storage.flusher().syncs_made();
            idle_looks = if made == syncs_made { idle_looks + 1 } else { 0 };
            syncs_made = made;
            if wanted > 1 && idle_looks >= IDLE_LOOKS {
                idle_looks = 0;
                self.measure_sync().await;
            }
            tokio::time::sleep(ROUND_INTERVAL).await;
        }
    }

    async fn measure_sync(&self) {
        let storage = self.storage.clone();
        let measured = tokio::task::spawn_blocking(move || storage.measure_sync()).await;
        // A disk that is full, or fails, shows that where it matters.
        if let Ok(Err(fault)) = measured {
            tracing::info!(%fault, "could not measure how long a sync takes");
        }
    }

    /// The pace at which this node can be elected in each of its shards, and how long a vote takes there.
    fn pace_wanted(&self) -> (u32, Duration) {
        let vote_time = self.vote_time(&self.known.get());
        (pace::pace_for(vote_time, self.config.raft.election_timeout), vote_time)
    }

    /// How long a vote takes, in the slowest of this node's shards.
    fn vote_time(&self, map: &ShardMap) -> Duration {
        let (me, sync) = (self.config.node_id, self.storage.flusher().typical_sync());
        let mine = map
            .shards
            .values()
            .filter(|replicas| replicas.values().any(|replica| replica.node == me));
        let times = mine.map(|replicas| {
            // One whose disk is lost has a vote and cannot give it, and its successor has none yet, although their node
            // may answer.
            let others = replicas.values().filter(|replica| replica.node != me);
            let others = others.filter(|replica| replica.is_voter() || replica.is_leaving());
            let latency = |replica: &Replica| match replica.is_leaving() {
                true => None,
                false => self.latencies.of(replica.node),
            };
            let others: Vec<_> = others.map(latency).collect();
            pace::vote_time(sync, &others)
        });
        times.max().unwrap_or_default()
    }
}
