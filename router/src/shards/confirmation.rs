//! Whether the known shard map is the newest: the meta shard is asked, for all that want to know it together.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::ShardId;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{ReadShardMapRequest, ShardMap};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::route::topology::Topology;
use crate::shards::map_follower::MAP_BYTES_MAX;
use crate::shards::pool::{Lane, Pool};

/// Minimum interval between two questions: whoever tries codes at random must not load the meta shard.
const QUESTION_INTERVAL: Duration = Duration::from_secs(1);

/// Timeout of a question. One that was asked during an election is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// When the known map was last confirmed, and whether somebody waits for that. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Confirmation {
    wanted: Arc<Notify>,
    /// When the latest question that was answered was asked.
    asked_at: Arc<watch::Sender<Option<Instant>>>,
}

impl Confirmation {
    /// Waits until the known map has everything that was decided before this call.
    pub(crate) async fn wait(&self) {
        let called_at = Instant::now();
        let mut asked_at = self.asked_at.subscribe();
        self.wanted.notify_one();
        // It cannot fail: the sender is in `self`.
        let _ = asked_at.wait_for(|asked_at| asked_at.is_some_and(|at| at >= called_at)).await;
    }

    /// Asks whenever somebody waits; `ask` takes the answer into use, and says whether there was one.
    pub(crate) async fn serve<A: Future<Output = bool>>(&self, ask: impl Fn() -> A) {
        loop {
            self.wanted.notified().await;
            let mut is_answered = false;
            while !is_answered {
                let now = Instant::now();
                is_answered = ask().await;
                if is_answered {
                    self.asked_at.send_replace(Some(now));
                }
                sleep_until(now + QUESTION_INTERVAL).await;
            }
        }
    }
}

/// The map of the meta shard, from the node that leads it. `None` when no node says in time that it does.
pub(crate) async fn read_map(topology: &Topology, pool: &Pool) -> Option<ShardMap> {
    let replicas = topology.replicas(ShardId::META).iter();
    let channels =
        replicas.filter_map(|node| pool.addressed(topology.peer(*node)?, Lane::Calls).ok());
    let mut asked: FuturesUnordered<_> = channels
        .map(|channel| async move {
            let mut client =
                ClusterServiceClient::new(channel).max_decoding_message_size(MAP_BYTES_MAX);
            client.read_shard_map(ReadShardMapRequest {}).await.ok()?.into_inner().map
        })
        .collect();
    let first = async {
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    };
    timeout(ANSWER_TIMEOUT, first).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_that_wait_share_one_question_a_second() {
        let confirmation = Confirmation::default();
        let asked = Arc::new(AtomicU32::new(0));
        let (serving, counted) = (confirmation.clone(), Arc::clone(&asked));
        // Every third question is answered.
        let ask = move || std::future::ready(counted.fetch_add(1, Ordering::Relaxed) % 3 == 2);
        tokio::spawn(async move { serving.serve(ask).await });
        let begun = Instant::now();
        let waiting = (0..100).map(|_| confirmation.wait());
        futures::future::join_all(waiting).await;
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert_eq!(begun.elapsed(), 2 * QUESTION_INTERVAL);
        // Nobody waits, and nobody asks.
        tokio::time::sleep(10 * QUESTION_INTERVAL).await;
        assert!(asked.load(Ordering::Relaxed) <= 6, "one more answer may have been wanted");
        // An answer from before does not count.
        let before = asked.load(Ordering::Relaxed);
        confirmation.wait().await;
        assert!(asked.load(Ordering::Relaxed) > before);
    }
}
