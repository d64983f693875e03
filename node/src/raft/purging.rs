//! What is purged of the log, and the followers that stand in the way.
//!
//! openraft purges nothing that it is sending to a follower, and to a follower that is behind it is sending all that the
//! follower lacks. So a slow one could make the log grow without a bound. When it has grown too much, the streams to the
//! followers that lack what is to be purged are cut. The log is purged before the next ones begin, and those followers
//! are sent the state instead.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::replica::RaftReplica;

/// The replicas whose streams were cut last. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamCuts(Arc<watch::Sender<BTreeSet<u64>>>);

impl StreamCuts {
    /// Waits until the streams to a replica are cut the next time.
    pub(super) fn next(&self, replica: u64) -> BoxFuture<'static, ()> {
        let mut cuts = self.0.subscribe();
        Box::pin(async move {
            while cuts.changed().await.is_ok() {
                if cuts.borrow_and_update().contains(&replica) {
                    return;
                }
            }
            // The replica that sends has stopped.
            std::future::pending().await
        })
    }

    fn cut(&self, replicas: BTreeSet<u64>) {
        self.0.send_replace(replicas);
    }
}

impl RaftReplica {
    /// Takes what is applied for a snapshot, so that the log up to there may be purged.
    pub async fn snapshot(&self) {
        // A core that has stopped needs no snapshot.
        let _ = self.raft.trigger().snapshot().await;
    }

    /// Purges the log up to an index that was [applied](Self::snapshot) before, once no follower is sent these entries.
    pub async fn purge_log(&self, upto: u64) {
        // A core that has stopped keeps its log until it starts again.
        let _ = self.raft.trigger().purge_log(upto).await;
    }

    /// Cuts the streams to the followers that lack entries up to an index which are to be purged. Does nothing on a
    /// replica that does not lead.
    pub fn cut_streams(&self, upto: u64) {
        let Some(replication) = self.metrics().replication else { return };
        let lagging = replication.iter().filter(|(id, matched)| {
            **id != self.key.replica.0 && matched.map_or(0, |last| last.index) < upto
        });
        let lagging: BTreeSet<u64> = lagging.map(|(id, _)| *id).collect();
        tracing::info!(
            shard = %self.key.shard, upto, replicas = ?lagging,
            "the log has grown too much for these followers: they are sent the state instead",
        );
        self.cuts.cut(lagging);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_cut_ends_the_streams_of_its_replicas_that_are_under_way() {
        let cuts = StreamCuts::default();
        let (mut one, mut other) = (cuts.next(1), cuts.next(2));
        cuts.cut([1].into());
        assert!((&mut one).now_or_never().is_some());
        assert!((&mut other).now_or_never().is_none());
        let mut later = cuts.next(1);
        assert!((&mut later).now_or_never().is_none(), "it began after the cut");
        cuts.cut([1, 2].into());
        assert!(later.now_or_never().is_some() && other.now_or_never().is_some());
    }
}
