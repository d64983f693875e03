//! Stops a shard that has two histories, or whose replicas hold different states.
//!
//! Two histories arise when a voter forgets, for example because its directory was replaced by an older copy:
//! a quorum with it decides again what another quorum had decided. No program can know which of the two to
//! keep. So the replica that notices stops for good, durably, and tells all other members, which also stop.
//! Both histories stay on disk as they are. The rest of the node goes on.
//!
//! The mark is never removed here. When the shard map replaces a replica, its mark goes with it.

use std::time::Duration;

use coupon_cluster::{NodeId, ReplicaId, ShardId};
use coupon_proto::internal as pb;
use coupon_proto::internal::raft_service_client::RaftServiceClient;
use prost::Message as _;
use rocksdb::WriteBatch;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::registry::Registry;
use crate::peers::{Lane, Peers};
use crate::raft::history::Conflict;
use crate::raft::replica::RaftReplica;
use crate::raft::types::log_id_to_pb;
use crate::storage::keys::LogKeys;
use crate::storage::ledger::decode;
use crate::storage::snapshot::ReplicaKey;
use crate::storage::{Storage, StorageError, fatal};

/// Timeout for a member to answer a report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two rounds of reports while a member has not answered.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between rounds once all members have answered: a member may have been restored without its
/// mark.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum interval between log lines about one shard.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A replica that is stopped for good.
#[derive(Clone, Debug)]
pub struct Diverged {
    /// The shard and the replica.
    pub key: ReplicaKey,
    /// Where the histories differ, as far as is known.
    pub record: pb::DivergedRecord,
}

impl Diverged {
    /// The fault, as text for operators.
    pub fn reason(&self) -> String {
        let pb::DivergedRecord { index, ours, theirs, .. } = &self.record;
        let (noticed, other) =
            (self.record.noticed_by_replica_id, self.record.differs_from_replica_id);
        if ours.is_none() && theirs.is_none() {
            return format!(
                "the shard has two histories, or one of its replicas is damaged: at index {index} replica \
                 {noticed} holds something else than replica {other}; all its replicas are stopped and \
                 nothing is deleted; run coupon recover"
            );
        }
        let entry = |id: &Option<pb::LogId>| match id {
            Some(id) => format!("{}-{}-{}", id.term, id.leader_replica_id, id.index),
            None => "unknown".to_owned(),
        };
        format!(
            "the shard has two histories: at index {index} replica {noticed} has committed entry {}, \
             replica {other} has {}; all its replicas are stopped and nothing is deleted; \
             run coupon recover",
            entry(ours),
            entry(theirs),
        )
    }
}

/// Stops replicas of a node for good. Clones do the same.
#[derive(Clone)]
pub struct Divergence {
    storage: Storage,
    peers: Peers,
    registry: Registry,
    stopping: CancellationToken,
}

impl Divergence {
    /// For the replicas in `registry`; its reports end once `stopping` is cancelled.
    pub fn new(
        storage: Storage,
        peers: Peers,
        registry: Registry,
        stopping: CancellationToken,
    ) -> Self {
        Self { storage, peers, registry, stopping }
    }

    /// Checks whether a replica that is about to start was stopped for good. If so, registers it as stopped
    /// and reports to the other members again.
    ///
    /// # Errors
    ///
    /// When the mark cannot be read.
    pub fn resume(&self, key: ReplicaKey) -> Result<bool, StorageError> {
        let row = LogKeys::new(key.shard, key.replica).diverged();
        let Some(bytes) = self.storage.db().get_cf(self.storage.meta(), row)? else {
            return Ok(false);
        };
        let record = decode("divergence mark", &bytes)?;
        self.registry.set_diverged(Diverged { key, record });
        tokio::spawn(self.clone().report(key));
        Ok(true)
    }

    /// Notes that a replica found entries of `from` that contradict its own. Returns at once; the replica
    /// stops.
    pub fn found(&self, raft: &RaftReplica, from: ReplicaId, conflict: Conflict) {
        let key = raft.key;
        let record = pb::DivergedRecord {
            index: conflict.ours.index,
            ours: Some(log_id_to_pb(&conflict.ours)),
            theirs: Some(log_id_to_pb(&conflict.theirs)),
            noticed_by_replica_id: key.replica.0,
            differs_from_replica_id: from.0,
        };
        let this = self.clone();
        // The caller may hang up, but the replica must still stop.
        tokio::spawn(async move { this.stop(key, record).await });
    }

    /// While a replica runs, waits for it to find that its state differs from its leader's, and stops it
    /// then.
    pub async fn watch(&self, key: ReplicaKey, mut difference: watch::Receiver<Option<u64>>) {
        let Ok(found) = difference.wait_for(Option::is_some).await.map(|found| *found) else {
            return;
        };
        let running = self.registry.get_replica(key.shard, key.replica);
        let leader = running.and_then(|running| running.raft.leader_replica());
        let record = pb::DivergedRecord {
            index: found.unwrap_or_default(),
            noticed_by_replica_id: key.replica.0,
            differs_from_replica_id: leader.map_or(0, |leader| leader.0),
            ..pb::DivergedRecord::default()
        };
        self.stop(key, record).await;
    }

    /// Stops a replica for good: first durably, then for all its users. Returns when it has stopped.
    pub async fn stop(&self, key: ReplicaKey, record: pb::DivergedRecord) {
        if self.registry.occupant(key.shard) != Some(key.replica)
            || self.registry.diverged(key.shard).is_some()
        {
            return;
        }
        if let Err(fault) = self.mark(key, &record).await {
            fatal::abort(&format!("stopping the replica of shard {}", key.shard), &fault);
        }
        // Another task may have been first.
        let running = self.registry.set_diverged(Diverged { key, record });
        let Some(running) = running else { return };
        tokio::spawn(self.clone().report(key));
        running.raft.stop().await;
    }

    async fn mark(&self, key: ReplicaKey, record: &pb::DivergedRecord) -> Result<(), StorageError> {
        let row = LogKeys::new(key.shard, key.replica).diverged();
        let mut batch = WriteBatch::default();
        batch.put_cf(self.storage.meta(), row, record.encode_to_vec());
        self.storage.write(batch)?;
        self.storage.flusher().durable().await;
        Ok(())
    }

    /// Reports to the other members and to the log, again and again, until the node stops or has
    /// another replica of the shard.
    async fn report(self, key: ReplicaKey) {
        let stopping = self.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.repeat_report(key) => {}
        }
    }

    async fn repeat_report(&self, key: ReplicaKey) {
        let mut logged: Option<Instant> = None;
        loop {
            let diverged = self.registry.diverged(key.shard);
            let Some(diverged) = diverged.filter(|found| found.key == key) else { return };
            if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
                logged = Some(Instant::now());
                tracing::error!(shard = %key.shard, "SHARD_DIVERGED: {}", diverged.reason());
            }
            let told = self.tell_all(key, &diverged.record).await;
            tokio::time::sleep(if told { QUIET_INTERVAL } else { REPORT_INTERVAL }).await;
        }
    }

    /// Reports to every other member once. Returns whether all have stopped.
    async fn tell_all(&self, key: ReplicaKey, record: &pb::DivergedRecord) -> bool {
        let map = self.peers.map();
        let members = map.shards.get(&key.shard).into_iter().flatten();
        let others: Vec<(ReplicaId, NodeId)> = members
            .filter(|(id, member)| **id != key.replica && !member.is_leaving())
            .map(|(id, member)| (*id, member.node))
            .collect();
        let mut all = true;
        for (replica, node) in others {
            all &= self.tell(key, replica, node, record).await.is_some();
        }
        all
    }

    async fn tell(
        &self,
        key: ReplicaKey,
        replica: ReplicaId,
        node: NodeId,
        record: &pb::DivergedRecord,
    ) -> Option<()> {
        let channel = self.peers.channel(node, Lane::Control)?;
        let request = pb::ReportDivergenceRequest {
            envelope: Some(pb::Envelope {
                shard_id: key.shard.get(),
                to_replica_id: replica.0,
                acknowledged_index: 0,
            }),
            from_replica_id: key.replica.0,
            record: Some(*record),
        };
        let mut client = RaftServiceClient::new(channel);
        let told = tokio::time::timeout(REPORT_TIMEOUT, client.report_divergence(request)).await;
        told.ok()?.ok().map(|_| ())
    }

    /// Whether a report from a replica counts: the shard map lists it as a member.
    pub fn is_member(&self, shard: ShardId, replica: ReplicaId) -> bool {
        let map = self.peers.map();
        let member = map.shards.get(&shard).and_then(|members| members.get(&replica));
        member.is_some_and(|member| !member.is_leaving())
    }
}
