//! What the leader of a shard does besides leading: it makes the shard's replicas what the shard map says they
//! should be, one small idempotent step at a time, and may die after any of them.
//!
//! - The first map of a new cluster is proposed.
//! - The ledger adopts a newer ring.
//! - A joining replica becomes a learner, then a voter in one joint change that drops the replicas
//!   whose disks are lost; then the map is told.
//! - Leadership goes to the preferred replica, and away from a node whose clock is off or whose disk
//!   hangs.
//! - The log is purged when it has grown enough.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coupon_cluster::{Epoch, MetaCommand, NodeId, ReplicaId, ReplicaRole, ShardId, ShardMap};
use coupon_proto::internal as pb;
use prost::Message as _;

use super::leadership_transfer::transfer_leadership;
use super::log_retention::LogRetention;
use super::registry::{Registry, Replica};
use crate::clock::TrustedClock;
use crate::meta::propose;
use crate::meta::store::ShardMapStore;
use crate::peers::Peers;
use crate::raft::options::RaftOptions;
use crate::raft::replica::{RaftReplica, ReplicaError};
use crate::raft::types::Proposal;
use crate::storage::view::LedgerView;
use crate::storage::{Storage, StorageError, fatal};
use crate::ticks::ticks;

/// How often the reconciler looks. Every look is cheap; this bounds how long a new leader waits
/// before its ledger adopts a ring.
const ROUND_INTERVAL: Duration = Duration::from_millis(100);
/// How long a round may take: a leader that has lost its quorum must not wait for it here.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum time that a leader stays before it makes way for the preferred one, so that leadership does not flap.
const LEADER_AGE_MIN: Duration = Duration::from_secs(5);
/// The pause after leadership should have been handed over, before that is tried again. Where it is only
/// that another replica is preferred, it doubles with every failure, since an attempt holds up the shard.
const TRANSFER_PAUSE: Duration = Duration::from_secs(5);
/// It grows no longer than this.
const TRANSFER_PAUSE_MAX: Duration = Duration::from_mins(5);
/// The pause after the streams to followers that hold a purge up were cut, before that is tried again.
const CUT_PAUSE: Duration = Duration::from_secs(1);
/// The pause after the group refused or failed a step.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// What a reconciler needs to know of its node.
#[derive(Clone)]
pub struct NodeContext {
    /// Its storage.
    pub storage: Storage,
    /// Its clock.
    pub clock: TrustedClock,
    /// The shard map it knows.
    pub known: ShardMapStore,
    /// Its channels.
    pub peers: Peers,
    /// Its replicas.
    pub registry: Registry,
    /// How its groups behave.
    pub options: RaftOptions,
}

/// Reconciles one replica until its node removes it from the registry or stops.
pub async fn run(context: NodeContext, replica: Replica) {
    let RaftOptions { log_entries_kept, log_bytes_kept, .. } = context.options;
    let mut reconciler = Reconciler {
        shard: replica.raft.key.shard,
        raft: replica.raft.clone(),
        replica,
        context,
        leading_since: None,
        without_quorum: false,
        pause_until: Instant::now(),
        transfer_pause: TRANSFER_PAUSE,
        transfer_pause_until: Instant::now(),
        leave_pause_until: Instant::now(),
        cut_pause_until: Instant::now(),
        preferred: (0, None),
        adopted: Epoch::default(),
        log: LogRetention::new(log_entries_kept, log_bytes_kept),
        first_map_proposed: false,
    };
    let mut rounds = ticks(ROUND_INTERVAL);
    loop {
        rounds.tick().await;
        if !reconciler.context.registry.is_cared_for(reconciler.shard, reconciler.raft.key.replica)
        {
            return;
        }
        let why = match tokio::time::timeout(ROUND_TIMEOUT, reconciler.round()).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::info!(shard = %reconciler.shard, why, "a step was not done; it will be repeated");
        reconciler.pause_until = Instant::now() + FAILURE_PAUSE;
    }
}

struct Reconciler {
    context: NodeContext,
    shard: ShardId,
    raft: RaftReplica,
    replica: Replica,
    leading_since: Option<Instant>,
    /// Whether it was last said that no quorum answers.
    without_quorum: bool,
    pause_until: Instant,
    transfer_pause: Duration,
    transfer_pause_until: Instant,
    /// When leadership may next be handed over because the clock is off.
    leave_pause_until: Instant,
    /// When the streams to followers that hold a purge up may next be cut.
    cut_pause_until: Instant,
    /// The preferred leader by the map of a version: all shards have to be looked at to find it.
    preferred: (u64, Option<ReplicaId>),
    /// The epoch of the ring that its ledger has adopted, when it was last read.
    adopted: Epoch,
    log: LogRetention,
    first_map_proposed: bool,
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    #[error(transparent)]
    Propose(#[from] propose::ProposeError),
}

impl Reconciler {
    async fn round(&mut self) -> Result<(), StepError> {
        let stuck = self.context.storage.flusher().is_stuck();
        let trusted = self.context.clock.stamp_micros().is_some();
        self.raft.allow_election(trusted && !stuck);
        // Handing over needs a disk that answers; without heartbeats the others elect.
        self.raft.send_heartbeats(!stuck);
        if stuck {
            self.leading_since = None;
            return Ok(());
        }
        self.purge_when_due().await;
        if !self.raft.is_leader() {
            self.leading_since = None;
            self.without_quorum = false;
            return Ok(());
        }
        self.raft.note_acknowledged();
        let without_quorum = self.raft.leads_without_quorum();
        if without_quorum != self.without_quorum {
            self.without_quorum = without_quorum;
            match without_quorum {
                true => tracing::warn!(shard = %self.shard, "no quorum answers this leader"),
                false => tracing::info!(shard = %self.shard, "a quorum answers again"),
            }
        }
        let now = Instant::now();
        let leading_since = *self.leading_since.get_or_insert_with(|| {
            self.transfer_pause = TRANSFER_PAUSE;
            now
        });
        if !trusted {
            if now >= self.leave_pause_until {
                self.transfer_leadership(None).await;
                self.leave_pause_until = Instant::now() + TRANSFER_PAUSE;
            }
            return Ok(());
        }
        if now < self.pause_until {
            return Ok(());
        }
        let map = self.context.known.get();
        if self.shard == ShardId::META {
            self.propose_first_map(&map).await?;
        } else {
            self.adopt_ring(&map).await?;
        }
        self.reconcile_membership(&map).await?;
        if self.preferred.0 != map.version {
            self.preferred = (map.version, map.preferred_leader(self.shard));
        }
        let preferred = self.preferred.1.filter(|preferred| *preferred != self.raft.key.replica);
        if let Some(preferred) = preferred
            && now.duration_since(leading_since) >= LEADER_AGE_MIN
            && now >= self.transfer_pause_until
            // One that is away holds nothing up, and need not be tried.
            && self.raft.responsive_voters().iter().any(|(id, _)| *id == preferred)
        {
            self.transfer_pause = if self.transfer_leadership(Some(preferred)).await {
                TRANSFER_PAUSE
            } else {
                (self.transfer_pause * 2).min(TRANSFER_PAUSE_MAX)
            };
            self.transfer_pause_until = Instant::now() + self.transfer_pause;
        }
        Ok(())
    }

    /// The first command of a new cluster: the map that its first node made.
    async fn propose_first_map(&mut self, map: &ShardMap) -> Result<(), StepError> {
        if self.first_map_proposed || map.version > 1 {
            return Ok(());
        }
        let first = MetaCommand::Genesis(map.clone());
        match propose::propose_here(self.context.registry.meta().as_ref(), &first).await {
            // A refusal says that there is a map already.
            Ok(_) | Err(propose::ProposeError::Refused { .. }) => {
                self.first_map_proposed = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn adopt_ring(&mut self, map: &ShardMap) -> Result<(), StepError> {
        // A ledger never goes back to an older ring.
        if self.adopted >= map.epoch {
            return Ok(());
        }
        self.adopted = self.adopted_epoch().unwrap_or_else(|fault| {
            fatal::abort(&format!("reading the state of shard {}", self.shard), &fault)
        });
        if self.adopted >= map.epoch {
            return Ok(());
        }
        let Some(log_time_micros) = self.context.clock.stamp_micros() else { return Ok(()) };
        let adopt = pb::AdoptRingCommand {
            epoch: map.epoch.0,
            ring_shards: map.ring_shards.iter().map(|shard| shard.get()).collect(),
        };
        let pb::LogHeader { committed_index, acknowledged } = self.raft.log_header();
        let entry = pb::CommandEntry {
            log_time_micros,
            internal_command: Some(pb::command_entry::InternalCommand::AdoptRing(adopt)),
            applied_digest: self.raft.applied_digests.last(),
            committed_index,
            acknowledged,
            ..Default::default()
        };
        self.raft.propose_and_wait(Proposal(Bytes::from(entry.encode_to_vec()))).await?;
        Ok(())
    }

    fn adopted_epoch(&self) -> Result<Epoch, StorageError> {
        let view = LedgerView::new(&self.context.storage, self.shard, self.raft.key.replica)?;
        Ok(view.shard_state()?.epoch)
    }

    /// One step towards the members that the map asks for.
    async fn reconcile_membership(&self, map: &ShardMap) -> Result<(), StepError> {
        let Some(wanted) = map.shards.get(&self.shard) else { return Ok(()) };
        let membership = self.raft.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        // Only voters are dropped by a change of voters: a learner whose disk was lost before it
        // became one is dropped here.
        let forgotten: BTreeSet<u64> = membership
            .nodes()
            .map(|(id, _)| *id)
            .filter(|id| !voters.contains(id) && !wanted.contains_key(&ReplicaId(*id)))
            .collect();
        if !forgotten.is_empty() {
            tracing::info!(shard = %self.shard, replicas = ?forgotten, "dropping learners");
            return Ok(self.raft.drop_learners(forgotten).await?);
        }
        let joining: Vec<(ReplicaId, NodeId)> = wanted
            .iter()
            .filter(|(_, replica)| replica.role == ReplicaRole::Joining)
            .map(|(id, replica)| (*id, replica.node))
            .collect();
        if joining.is_empty() {
            return Ok(());
        }
        for (id, node) in &joining {
            if membership.get_node(&id.0).is_none() {
                tracing::info!(shard = %self.shard, replica = %id, %node, "adding a learner");
                return Ok(self.raft.add_learner(*id, *node).await?);
            }
        }
        let ready: Vec<ReplicaId> = joining
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| voters.contains(&id.0) || self.raft.is_caught_up(*id))
            .collect();
        if ready.is_empty() {
            return Ok(());
        }
        // A replica is removed in the same change that adds its successor: on the same node, or on
        // another one where the node leaves as well. Which one does not matter here.
        let joins_on = |node| joining.iter().find(|(_, on)| *on == node).map(|(id, _)| id);
        let replaced = |node| match joins_on(node) {
            Some(successor) => ready.contains(successor),
            None => ready.len() == joining.len(),
        };
        let lost: Vec<ReplicaId> = wanted
            .iter()
            .filter(|(_, replica)| replica.is_to_go() && replaced(replica.node))
            .map(|(id, _)| *id)
            .collect();
        let target: BTreeSet<u64> = voters
            .iter()
            .copied()
            .filter(|id| !lost.iter().any(|lost| lost.0 == *id))
            .chain(ready.iter().map(|id| id.0))
            .collect();
        let is_joint = membership.get_joint_config().len() > 1;
        if target != voters || is_joint {
            tracing::info!(shard = %self.shard, ?target, "changing the voters");
            self.raft.change_voters(target).await?;
        }
        for replica in ready {
            let (shard, removed) = (self.shard, lost.clone());
            let joined = MetaCommand::ReplicaJoined { shard, replica, removed };
            propose::propose(self.context.registry.meta().as_ref(), &self.context.peers, &joined)
                .await?;
        }
        Ok(())
    }

    /// Hands leadership to `to`, or to any other voter, if that can be done without an election
    /// timeout. Returns whether it was.
    async fn transfer_leadership(&self, to: Option<ReplicaId>) -> bool {
        let distrusted = self.context.clock.verdict().distrusted_peers;
        transfer_leadership(&self.replica, to, &distrusted).await
    }

    async fn purge_when_due(&mut self) {
        let (applied, purged) = self.raft.applied_and_purged();
        if !self.log.has_begun() {
            self.log.begin(purged, applied);
        }
        if self.log.advance(applied, self.raft.appended_bytes()) {
            self.raft.snapshot().await;
        }
        if let Some(upto) = self.log.overdue(metrics.purged.map_or(0, |id| id.index))
            && Instant::now() >= self.cut_pause_until
        {
            self.raft.cut_streams(upto);
            self.cut_pause_until = Instant::now() + CUT_PAUSE;
        }
        if let Some(upto) = self.log.purge_upto(self.raft.held_by_all()) {
            self.raft.purge_log(upto).await;
        }
    }
}
