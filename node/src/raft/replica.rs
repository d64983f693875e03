//! One running replica of a shard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{NodeId, ReplicaId, ShardId, ShardMap};
use coupon_ledger::mutants::{self, Mutant};
use coupon_proto::internal as pb;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::impls::ProgressResponder;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::raft::{ClientWriteResult, ReadPolicy};
use openraft::{Instant as _, Raft, RaftMetrics, ServerState};
use tokio::sync::{oneshot, watch};

use super::closed_campaigns::ClosedCampaigns;
use super::consistency_check::AppliedDigests;
use super::elections::Elections;
use super::hearing::Hearing;
use super::heartbeats::Heartbeats;
use super::history::{self, Conflict};
use super::log_store::LogStore;
use super::network::NetworkFactory;
use super::options::{RaftOptions, raft_config};
use super::purging::StreamCuts;
use super::revisions::Revisions;
use super::state_machine::StateMachine;
use super::state_transfers::StateTransfers;
use super::terms::Terms;
use super::types::{Applied, LogId, Member, Proposal, StoredMembership, TypeConfig, Vote};
use super::witness::Witness;
use crate::peers::Peers;
use crate::storage::snapshot::ReplicaKey;
use crate::storage::{Storage, StorageError, fatal};

/// The leader of a group in one term: who proposes under it can be sure that no other leader's
/// entries came between.
pub type Leadership = LeaderId<u64, u64>;

/// How many heartbeats a voter may leave unanswered and still count as responsive.
const ANSWERS_MISSED_MAX: u32 = 2;
/// After how many election timeouts without an answer from a quorum a leader counts as one no more.
const QUORUM_MISSED_MAX: u32 = 2;

/// Why a group cannot do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// Another replica leads, or none.
    #[error("this replica does not lead shard {shard}")]
    NotLeader {
        /// The shard.
        shard: ShardId,
        /// The node that leads, if known.
        leader: Option<NodeId>,
    },
    /// A proposal was made, and nobody knows whether it will be applied.
    #[error("the outcome of a proposal to shard {0} is not known")]
    OutcomeUnknown(ShardId),
    /// A quorum did not answer in time.
    #[error("no quorum of shard {0} answered in time")]
    NoQuorum(ShardId),
    /// The group refused a change of its membership.
    #[error("shard {shard} refused a membership change: {why}")]
    Membership {
        /// The shard.
        shard: ShardId,
        /// What openraft says.
        why: String,
    },
}

/// A running replica. Clones share it.
#[derive(Clone)]
pub struct RaftReplica {
    /// The shard and the replica.
    pub key: ReplicaKey,
    pub(super) raft: Raft<TypeConfig, StateMachine>,
    heartbeats: Heartbeats,
    pub(super) hearing: Hearing,
    pub(super) elections: Elections,
    pub(super) log: LogStore,
    /// What the replica has applied, as it goes on.
    pub applied_digests: AppliedDigests,
    /// The campaigns that give no coupons at the moment, as far as is known.
    pub closed: ClosedCampaigns,
    /// The campaigns whose next change somebody waits for.
    pub revisions: Revisions,
    /// The entries that this replica and others must have on disk.
    pub witness: Witness,
    pub(super) transfers: StateTransfers,
    pub(super) cuts: StreamCuts,
    pub(super) round_max: Duration,
    pub(super) answer_age_max: Duration,
    quorum_age_max: Duration,
}

/// What a waiting proposer is told; see [`outcome`].
pub type WriteResult = ClientWriteResult<TypeConfig>;

/// What became of a proposal.
#[derive(Debug)]
pub enum WriteOutcome {
    /// It was applied.
    Applied(Applied),
    /// It is not in the log, and never will be: this replica did not lead when it came.
    NotAppended,
    /// It may be in the log of somebody who leads later.
    Unknown,
}

/// What became of a proposal, by what openraft says.
pub fn outcome(result: WriteResult) -> WriteOutcome {
    match result {
        Ok(response) => WriteOutcome::Applied(response.data),
        // Said before an entry is appended, and only then.
        Err(ClientWriteError::ForwardToLeader(_)) => WriteOutcome::NotAppended,
        Err(_) => WriteOutcome::Unknown,
    }
}

impl RaftReplica {
    /// Starts a replica. `map` is given for the meta shard only: it is told of every new map.
    ///
    /// # Errors
    ///
    /// When what is on disk cannot be read.
    pub async fn start(
        storage: &Storage,
        peers: &Peers,
        key: ReplicaKey,
        map: Option<watch::Sender<Arc<ShardMap>>>,
        options: &RaftOptions,
    ) -> Result<Self, StorageError> {
        let log = LogStore::open(storage.clone(), key.shard, key.replica)?;
        let opened = storage.clone();
        // What its index lacks is made again, which may take a while after a crash or a restore.
        let opening = tokio::task::spawn_blocking(move || match map {
            Some(map) => StateMachine::open_meta(opened, key.replica, map),
            None => StateMachine::open_ledger(opened, key),
        });
        let stopped = |error| StorageError::corrupt("start of a replica", error);
        let mut machine = opening.await.map_err(stopped)??;
        machine.tell(log.acknowledged().clone());
        let (applied_digests, closed) = (machine.applied_digests(), machine.closed_campaigns());
        let revisions = machine.revisions();
        let witness = Witness::new(storage.clone(), key, log.clone());
        let (transfers, cuts) = (StateTransfers::default(), StreamCuts::default());
        let network = NetworkFactory {
            peers: peers.clone(),
            shard: key.shard,
            witness: witness.clone(),
            transfers: transfers.clone(),
            cuts: cuts.clone(),
        };
        let config = raft_config(key.shard, options)
            .map_err(|fault| StorageError::corrupt("Raft settings", fault))?;
        let config = Arc::new(config);
        let raft = Raft::new(key.replica.0, config, network, log.clone(), machine)
            .await
            .map_err(|fault| StorageError::corrupt("Raft state", fault))?;
        // An answer takes as long as a call may, and the call before it as well.
        let round_max = 2 * options.election_timeout / 3;
        let answer_age_max = ANSWERS_MISSED_MAX * options.heartbeat_interval + round_max;
        let quorum_age_max = QUORUM_MISSED_MAX * options.election_timeout;
        let hearing = Hearing::new(options.clone());
        let heartbeats =
            Heartbeats::start(raft.clone(), options.heartbeat_interval, hearing.clone());
        let raft = Self {
            key,
            raft,
            heartbeats,
            hearing,
            elections: Elections::new(peers.clone()),
            log,
            applied_digests,
            closed,
            revisions,
            witness,
            transfers,
            cuts,
            round_max,
            answer_age_max,
            quorum_age_max,
        };
        raft.watch();
        Ok(raft)
    }

    /// Says who leads, and aborts when the core stops because of a fault: that must not leave a
    /// replica that looks alive.
    fn watch(&self) {
        let shard = self.key.shard;
        let (mut leaders, ended) = (self.raft.server_metrics(), self.raft.metrics());
        tokio::spawn(async move {
            let mut led_by = None;
            loop {
                let (leader, term) = {
                    let leaders = leaders.borrow_watched();
                    let leader = leaders.current_leader.and_then(|leader| {
                        leaders.membership_config.get_node(&leader).map(|member| member.node_id)
                    });
                    (leader, leaders.vote.leader_id().term)
                };
                if leader.is_some() && led_by != Some((leader, term)) {
                    tracing::info!(%shard, node = leader, term, "led by");
                    led_by = Some((leader, term));
                }
                if leaders.changed().await.is_err() {
                    break;
                }
            }
            match ended.borrow_watched().running_state.clone() {
                Ok(()) | Err(openraft::errors::Fatal::Stopped) => {}
                Err(fault) => fatal::abort(&format!("Raft of shard {shard}"), &fault),
            }
        });
    }

    /// The openraft handle, for the serving side of replication.
    pub fn core(&self) -> &Raft<TypeConfig, StateMachine> {
        &self.raft
    }

    /// What the replica is doing.
    pub fn metrics(&self) -> RaftMetrics<TypeConfig> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// The last index that it has applied and the last one purged from its log; 0: none.
    pub fn applied_and_purged(&self) -> (u64, u64) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        (index(metrics.last_applied), index(metrics.purged))
    }

    /// The membership in force.
    pub fn membership(&self) -> Arc<StoredMembership> {
        self.raft.metrics().borrow_watched().membership_config.clone()
    }

    /// Notes what this leader knows of its members' disks, so that its messages say it, and it is still known
    /// after the leader steps down. Does nothing on other replicas.
    pub fn note_acknowledged(&self) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if let (Some(matched), Some(committed)) = (&metrics.replication, &metrics.local_committed) {
            let members = matched.iter().filter_map(|(id, matched)| Some((*id, (*matched)?.index)));
            self.log.acknowledged().note(committed.index, members);
        }
    }

    /// What this leader records in its next entry about its members' disks.
    pub fn log_header(&self) -> pb::LogHeader {
        self.note_acknowledged();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.nodes().map(|(id, _)| *id);
        self.log.acknowledged().header(members)
    }

    /// Looks for a conflict between what a leader sends and what is committed here; see
    /// [`history::conflict`].
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn conflict(
        &self,
        vote: &Vote,
        sent: impl IntoIterator<Item = LogId>,
    ) -> Result<Option<Conflict>, StorageError> {
        history::conflict(&self.log, vote, sent)
    }

    /// Looks for a conflict with a snapshot; see [`history::snapshot_conflict`].
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn snapshot_conflict(
        &self,
        vote: &Vote,
        last: LogId,
        terms: &Terms,
    ) -> Result<Option<Conflict>, StorageError> {
        history::snapshot_conflict(&self.log, vote, last, terms)
    }

    /// How many bytes of entries were appended since the replica started.
    pub fn appended_bytes(&self) -> u64 {
        self.log.appended_bytes()
    }

    /// Begins the log of a new group with its first members. Every one of them may do this, with the same members;
    /// a replica that has a log already is left as it is.
    ///
    /// # Errors
    ///
    /// When the core has stopped.
    pub async fn bootstrap(
        &self,
        initial: &BTreeMap<ReplicaId, NodeId>,
    ) -> Result<(), ReplicaError> {
        let members: BTreeMap<u64, Member> =
            initial.iter().map(|(id, node)| (id.0, Member { node_id: node.get() })).collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(_)) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(self.not_leader()),
        }
    }

    /// The leadership this replica holds now.
    ///
    /// # Errors
    ///
    /// When it does not lead.
    pub fn leadership(&self) -> Result<Leadership, ReplicaError> {
        // openraft looks at the vote alone, which a leader that was restarted still has.
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        self.raft.as_leader().map(|leader| *leader.leader_id()).map_err(|_| self.not_leader())
    }

    /// "Another replica leads", with a hint which.
    pub fn not_leader(&self) -> ReplicaError {
        ReplicaError::NotLeader { shard: self.key.shard, leader: self.leader_node() }
    }

    /// The leader this replica knows, itself included.
    pub fn leader_replica(&self) -> Option<ReplicaId> {
        self.raft.metrics().borrow_watched().current_leader.map(ReplicaId)
    }

    /// The node of the leader this replica knows, if it is another one.
    pub fn leader_node(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|leader| *leader != self.key.replica.0)?;
        let member = *metrics.membership_config.get_node(&leader)?;
        NodeId::new(member.node_id).ok()
    }

    /// Waits until this replica knows which replica leads, itself included, for `timeout` at most.
    pub async fn wait_for_leader(&self, timeout: Duration) {
        let own = self.key.replica.0;
        let known = |metrics: &RaftMetrics<TypeConfig>| {
            let leads = metrics.state == ServerState::Leader;
            leads || metrics.current_leader.is_some_and(|leader| leader != own)
        };
        // Callers look again, whether there is one or not.
        let _ = self.raft.wait(Some(timeout)).metrics(known, "a leader").await;
    }

    /// Returns once `leader` is not known to lead any more.
    pub async fn wait_until_replaced(&self, leader: NodeId) {
        let mut metrics = self.raft.metrics();
        while self.leader_node() == Some(leader) && metrics.changed().await.is_ok() {}
    }

    /// Proposes an entry under a leadership. The receiver is told the outcome; when it is dropped
    /// or gets an error, the outcome is not known.
    ///
    /// # Errors
    ///
    /// When the core has stopped.
    pub async fn propose(
        &self,
        proposal: Proposal,
        leadership: Leadership,
    ) -> Result<oneshot::Receiver<WriteResult>, ReplicaError> {
        let (responder, outcome) = ProgressResponder::complete_only();
        self.raft
            .write(proposal)
            .with_leader(leadership)
            .responder(responder)
            .await
            .map_err(|_| ReplicaError::OutcomeUnknown(self.key.shard))?;
        Ok(outcome)
    }

    /// Proposes an entry and waits for what came of it.
    ///
    /// # Errors
    ///
    /// When this replica does not lead, or the outcome is not known.
    pub async fn propose_and_wait(&self, proposal: Proposal) -> Result<Applied, ReplicaError> {
        let leadership = self.leadership()?;
        let written = self.propose(proposal, leadership).await?;
        match written.await.map_or(WriteOutcome::Unknown, outcome) {
            WriteOutcome::Applied(applied) => Ok(applied),
            WriteOutcome::NotAppended => Err(self.not_leader()),
            WriteOutcome::Unknown => Err(ReplicaError::OutcomeUnknown(self.key.shard)),
        }
    }

    /// Returns once the state shows every write that was answered before this call (ReadIndex,
    /// Raft dissertation §6.4). Calls that wait together share one round of messages.
    ///
    /// # Errors
    ///
    /// When this replica does not lead, or no quorum says in time that it does.
    pub async fn read_index(&self, timeout: Duration) -> Result<(), ReplicaError> {
        if !self.raft.is_leader() {
            return Err(self.not_leader());
        }
        if mutants::is(Mutant::ReadWithoutQuorum) {
            return Ok(());
        }
        let confirmed = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match tokio::time::timeout(timeout, confirmed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.not_leader()),
            Err(_) => Err(ReplicaError::NoQuorum(self.key.shard)),
        }
    }

    /// Whether this replica leads and a quorum has answered it lately.
    pub fn leads_with_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let acked = metrics.last_quorum_acked;
        let has_quorum = acked.is_some_and(|acked| acked.elapsed() <= self.quorum_age_max);
        metrics.state == ServerState::Leader && (has_quorum || !self.has_other_voters(&metrics))
    }

    /// Whether the replica leads.
    pub fn is_leader(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Whether this replica leads and a quorum has not answered it for so long that nothing it proposes
    /// is likely to be decided.
    pub fn leads_without_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader && self.lacks_quorum(&metrics)
    }

    pub(super) fn lacks_quorum(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        let acked = metrics.last_quorum_acked;
        self.has_other_voters(metrics)
            && acked.is_some_and(|acked| acked.elapsed() > self.quorum_age_max)
    }

    fn has_other_voters(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        metrics.membership_config.voter_ids().any(|id| id != self.key.replica.0)
    }

    /// Whether this replica leads and there is somebody who could instead, with a quorum to elect them.
    pub fn leads_replaceably(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader
            && self.has_other_voters(&metrics)
            && !self.lacks_quorum(&metrics)
    }

    /// Lets the replica assure its followers that it leads, or not. Without that, and without new
    /// entries, they elect another leader.
    pub fn send_heartbeats(&self, allowed: bool) {
        self.heartbeats.allow(allowed);
    }

    /// Stops the replica.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(shard = %self.key.shard, %error, "a replica stopped badly");
        }
    }
}
