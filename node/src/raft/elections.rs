//! When a replica stands for election: some time after it last heard its leader, which is openraft's part, and at once
//! when the leader's process is gone, which is this one's.
//!
//! A process that ends closes its connections, and then its address refuses new ones or says nothing at all. A
//! follower whose replication stream ended looks; where it finds that, it stands for election in spite of the leader's
//! lease, as a leader that transfers its leadership asks for (Raft dissertation §4.2.3). Whom the voters elect is for
//! them to say, so that a mistake costs a change of leaders and no answer.
//!
//! A partition or a paused leader ends no stream: then the election timeout decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coupon_cluster::ReplicaId;
use openraft::raft::TransferLeaderRequest;
use parking_lot::Mutex;

use super::pace;
use super::replica::RaftReplica;
use crate::peers::Peers;

/// Time that each voter gets to be elected before the next one stands: several rounds of messages and syncs. Where these
/// are slow it is as long as a call may take.
const CANDIDATE_INTERVAL: Duration = Duration::from_millis(100);

/// What decides whether a replica stands for election. Clones share it.
#[derive(Clone)]
pub(super) struct Elections {
    peers: Peers,
    allowed: Arc<AtomicBool>,
    /// When a leader was last heard.
    pub(super) heard: Arc<Mutex<Option<Instant>>>,
}

impl Elections {
    /// None yet.
    pub(super) fn new(peers: Peers) -> Self {
        Self { peers, allowed: Arc::default(), heard: Arc::default() }
    }
}

impl RaftReplica {
    /// Lets the replica stand for election, or not.
    pub fn allow_election(&self, allowed: bool) {
        self.elections.allowed.store(allowed, Ordering::Relaxed);
        self.raft.runtime_config().elect(allowed);
    }

    /// Stands for election if the process of the leader is gone. To be called when a stream from it has ended;
    /// `sender` is the replica that the stream came from, if known. What ended with an earlier leader changes nothing.
    ///
    /// The voters stand one after the other, the lowest id first: of two candidates of one term, voters prefer the
    /// greater id, so that one whose log is too old does not keep the next one from being elected.
    pub async fn replace_lost_leader(&self, sender: Option<ReplicaId>) {
        let (metrics, own) = (self.metrics(), self.key.replica.0);
        let is_lost = |leader: &u64| {
            *leader != own && sender.is_none_or(|sender| sender == ReplicaId(*leader))
        };
        let Some(leader) = metrics.current_leader.filter(is_lost) else { return };
        let mut candidates =
            metrics.membership_config.voter_ids().filter(|id| *id != leader).collect::<Vec<_>>();
        candidates.sort_unstable();
        let Some(place) = candidates.into_iter().position(|id| id == own) else { return };
        let Some(node) = self.leader_node() else { return };
        // As long as a call may take.
        let call_max = self.round_max() / 2;
        if !self.elections.peers.is_gone(node, call_max).await {
            return;
        }
        tracing::info!(shard = %self.key.shard, %node, "the process of the leader is gone");
        let interval = if pace::current() == 1 { CANDIDATE_INTERVAL } else { call_max };
        tokio::time::sleep(interval * u32::try_from(place).unwrap_or(u32::MAX)).await;
        if self.elections.allowed.load(Ordering::Relaxed) {
            // Without effect once this replica follows another leader, or has voted for a candidate. A core that has
            // stopped stands for nothing.
            let stand = TransferLeaderRequest::new(metrics.vote, own, None);
            self.doubt_leader();
            let _ = self.raft.handle_transfer_leader(stand).await;
        }
    }
}
