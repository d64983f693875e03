//! When a replica stands for election: some time after it last heard its leader, which is openraft's part, and at once
//! when the leader's process is gone, which is this one's.
//!
//! A process that ends closes its connections, and then its address refuses new ones or says nothing at all. A
//! follower whose replication stream ended looks; where it finds that, it stands for election in spite of the leader's
//! lease, as a leader that transfers its leadership asks for (Raft dissertation §4.2.3). Whom the voters elect is for
//! them to say, so that a mistake costs a change of leaders and no answer.
//!
//! A partition or a paused leader ends no stream: then the election timeout decides.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coupon_cluster::ReplicaId;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::raft::TransferLeaderRequest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::replica::RaftReplica;
use crate::peers::Peers;

/// Number of connections that are tried at once. On a bad network one in five gets no answer in time.
const TRIES: usize = 4;
/// How many times it is looked whether a process is gone.
const LOOKS: u32 = 5;
/// Time between two looks. A process that has begun to end needs less than all of them.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Time that each voter gets to be elected before the next one stands: several rounds of messages and syncs.
const CANDIDATE_INTERVAL: Duration = Duration::from_millis(100);

/// What decides whether a replica stands for election. Clones share it.
#[derive(Clone)]
pub(super) struct Elections {
    peers: Peers,
    allowed: Arc<AtomicBool>,
}

impl Elections {
    /// None yet.
    pub(super) fn new(peers: Peers) -> Self {
        Self { peers, allowed: Arc::default() }
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
        let Some(address) = self.elections.peers.address(node) else { return };
        // As long as a call may take.
        if !is_gone(&address, self.round_max / 2).await {
            return;
        }
        tracing::info!(shard = %self.key.shard, %node, "the process of the leader is gone");
        tokio::time::sleep(CANDIDATE_INTERVAL * u32::try_from(place).unwrap_or(u32::MAX)).await;
        if self.elections.allowed.load(Ordering::Relaxed) {
            // Without effect once this replica follows another leader, or has voted for a candidate. A core that has
            // stopped stands for nothing.
            let stand = TransferLeaderRequest::new(metrics.vote, own, None);
            self.doubt_leader();
            let _ = self.raft.handle_transfer_leader(stand).await;
        }
    }
}

/// Whether nothing accepts connections at an address, or soon nothing does: a process that is killed closes one
/// after the other. `patience` is how long a machine that is there may take to answer.
async fn is_gone(address: &str, patience: Duration) -> bool {
    for _ in 0..LOOKS {
        if refuses(address, patience).await {
            return true;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    false
}

/// Whether nothing accepts connections at an address. False where only this machine is to blame.
async fn refuses(address: &str, patience: Duration) -> bool {
    let mut tries: FuturesUnordered<_> = (0..TRIES).map(|_| TcpStream::connect(address)).collect();
    match timeout(patience, tries.next()).await {
        Ok(Some(Err(error))) => {
            // An error without a number is of the resolver: the name of a container goes with it.
            let named = error.raw_os_error().is_some();
            let refused = [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable];
            !named || refused.contains(&error.kind())
        }
        Ok(Some(Ok(_)) | None) => false,
        Err(_nothing_heard) => true,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_address_is_gone_when_nothing_listens_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert!(
            !is_gone(&address, PATIENCE).await,
            "the kernel accepts, even for a paused process"
        );
        drop(listener);
        assert!(is_gone(&address, PATIENCE).await);
    }
}
