//! Applying the log.
//!
//! Invariants:
//! - The effects of entries, and the record that they are applied, are written in one batch; only
//!   then is anybody told of the outcomes.
//! - The batch needs no sync of its own: the log it came from is durable on a quorum, and shares a
//!   write-ahead log with it here, so that what a power cut takes is applied again.
//! - A fault while applying ends the process. A state that is not the leader's stops the shard.

use std::io;
use std::sync::Arc;

use coupon_cluster::{ReplicaId, ShardId, ShardMap};
use coupon_env::{Clock as _, SystemClock};
use coupon_ledger::mutants::{self, Mutant};
use coupon_ledger::{Ledger, LogTime, MemoryStore};
use coupon_proto::internal as pb;
use coupon_trace::{Stage, mark};
use coupon_wire::{Malformed, map, meta};
use futures::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use prost::Message as _;
use rocksdb::WriteBatch;
use tokio::sync::watch;

use super::acknowledged::Acknowledged;
use super::closed_campaigns::ClosedCampaigns;
use super::consistency_check::{AppliedDigests, Diverged};
use super::marks;
use super::revisions::{Reached, Revisions};
use super::terms::Terms;
use super::types::{
    Applied, LogId, Proposal, SnapshotMeta, StoredMembership, TypeConfig, applied_from_pb,
    applied_to_pb,
};
use crate::codec::command;
use crate::storage::digest::Digest;
use crate::storage::keys::{LogKeys, StateKeys};
use crate::storage::ledger::{Campaigns, LedgerBatch, decode, running_digest};
use crate::storage::snapshot::{self, ReplicaKey, SnapshotFile};
use crate::storage::{Storage, StorageError, fatal};

/// Size at which a batch is written.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The state machine of one replica.
pub struct StateMachine {
    storage: Storage,
    key: ReplicaKey,
    keys: StateKeys,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// Of the ledger's state; the meta shard has none.
    digest: Digest,
    applied_digests: AppliedDigests,
    closed: ClosedCampaigns,
    revisions: Revisions,
    campaigns: Campaigns,
    acknowledged: Acknowledged,
    terms: Terms,
    machine: Machine,
}

/// What the shard is for.
enum Machine {
    Ledger(Box<Ledger>),
    Meta(watch::Sender<Arc<ShardMap>>),
}

/// Where the rows of a snapshot are.
pub enum SnapshotSource {
    /// In the state of a replica here, which may go on meanwhile.
    State {
        /// The node's storage.
        storage: Storage,
        /// The replica.
        key: ReplicaKey,
    },
    /// In a file that the leader has sent.
    Received(SnapshotFile),
}

/// A snapshot as openraft passes it around.
pub type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotSource>;

impl StateMachine {
    /// Opens the state of a replica of a data shard.
    ///
    /// # Errors
    ///
    /// When what is on disk cannot be read.
    pub fn open_ledger(storage: Storage, key: ReplicaKey) -> Result<Self, StorageError> {
        Self::open(storage, key, None)
    }

    /// Opens the state of a replica of the meta shard; `map` is told of every new map.
    ///
    /// # Errors
    ///
    /// When what is on disk cannot be read.
    pub fn open_meta(
        storage: Storage,
        replica: ReplicaId,
        map: watch::Sender<Arc<ShardMap>>,
    ) -> Result<Self, StorageError> {
        Self::open(storage, ReplicaKey { shard: ShardId::META, replica }, Some(map))
    }

    fn open(
        storage: Storage,
        key: ReplicaKey,
        map: Option<watch::Sender<Arc<ShardMap>>>,
    ) -> Result<Self, StorageError> {
        let machine = match map {
            Some(map) => Machine::Meta(map),
            None => {
                // Replaced when the state in force is loaded.
                let Ok(ledger) = Ledger::open(key.shard, &mut MemoryStore::default());
                Machine::Ledger(Box::new(ledger))
            }
        };
        let mut this = Self {
            keys: StateKeys::new(key.shard, 0),
            storage,
            key,
            applied: None,
            membership: StoredMembership::default(),
            digest: Digest::default(),
            applied_digests: AppliedDigests::default(),
            closed: ClosedCampaigns::default(),
            revisions: Revisions::default(),
            campaigns: Campaigns::default(),
            acknowledged: Acknowledged::default(),
            terms: Terms::default(),
            machine,
        };
        this.load()?;
        Ok(this)
    }

    /// Reports its applied index, which is committed, to `acknowledged`, now and as it advances.
    pub fn tell(&mut self, acknowledged: Acknowledged) {
        self.acknowledged = acknowledged;
        self.acknowledged.note_applied(self.applied.map_or(0, |id| id.index));
        self.acknowledged.note_terms(&self.terms);
    }

    /// What is applied, as it goes on.
    pub fn applied_digests(&self) -> AppliedDigests {
        self.applied_digests.clone()
    }

    /// The campaigns that give no coupons at the moment, as it goes on.
    pub fn closed_campaigns(&self) -> ClosedCampaigns {
        self.closed.clone()
    }

    /// The campaigns whose next change somebody waits for.
    pub fn revisions(&self) -> Revisions {
        self.revisions.clone()
    }

    /// Reads the state in force from disk: at the start, and after a snapshot was installed.
    fn load(&mut self) -> Result<(), StorageError> {
        let replica_keys = LogKeys::new(self.key.shard, self.key.replica);
        let generation = snapshot::generation(&self.storage, &replica_keys)?;
        snapshot::clear_other_generations(&self.storage, self.key.shard, generation)?;
        self.keys = StateKeys::new(self.key.shard, generation);
        self.campaigns = Campaigns::default();
        let db = self.storage.db();
        (self.applied, self.membership) =
            match db.get_cf(self.storage.state(), self.keys.applied())? {
                Some(bytes) => applied_from_pb(decode("applied record", &bytes)?)
                    .map_err(|error| StorageError::corrupt("applied record", error))?,
                None => (None, StoredMembership::default()),
            };
        self.terms = match db.get_cf(self.storage.state(), self.keys.terms())? {
            Some(bytes) => Terms::from_pb(decode("term starts", &bytes)?),
            None => Terms::default(),
        };
        match &mut self.machine {
            Machine::Ledger(ledger) => {
                self.digest = running_digest(&self.storage, &self.keys)?;
                self.applied_digests.restart(self.applied.map_or(0, |id| id.index), self.digest);
                let mut batch = LedgerBatch::new(&self.storage, self.keys, self.digest)?;
                **ledger = Ledger::open(self.key.shard, &mut batch)?;
            }
            Machine::Meta(current) => {
                if let Some(bytes) = db.get_cf(self.storage.state(), self.keys.shard_map())? {
                    let map = map::map_from_pb(decode("shard map", &bytes)?)
                        .map_err(|error| StorageError::corrupt("shard map", error))?;
                    current.send_replace(Arc::new(map));
                }
            }
        }
        Ok(())
    }

    async fn apply_all<S>(&mut self, mut entries: S) -> Result<(), ApplyError>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut done = false;
        while !done {
            let mut waiting: Vec<(ApplyResponder<TypeConfig>, Applied)> = Vec::new();
            let mut rows = LedgerBatch::new(&self.storage, self.keys, self.digest)?
                .with_campaigns(std::mem::take(&mut self.campaigns));
            let mut new_map: Option<ShardMap> = None;
            // Of this replica once the rows are written.
            let (mut last_applied, mut membership) = (self.applied, self.membership.clone());
            let (mut any, mut new_leader) = (false, false);
            loop {
                if rows.size_in_bytes() >= BATCH_BYTES_MAX {
                    break;
                }
                let Some(item) = entries.next().await else {
                    done = true;
                    break;
                };
                let (entry, responder) = item?;
                let (shard, replica) = (self.key.shard, self.key.replica.0);
                mark(
                    Stage::ApplyBegan,
                    marks::entries(shard, replica, std::slice::from_ref(&entry)),
                );
                any = true;
                last_applied = Some(entry.log_id);
                new_leader |= self.terms.note(&entry.log_id);
                let applied = match entry.payload {
                    EntryPayload::Blank => Applied::Nothing,
                    EntryPayload::Membership(new) => {
                        membership = StoredMembership::new(Some(entry.log_id), new);
                        Applied::Nothing
                    }
                    EntryPayload::Normal(proposal) => match &mut self.machine {
                        Machine::Ledger(ledger) => {
                            rows.begin_entry(entry.log_id.index);
                            apply_ledger(ledger, &mut rows, &self.applied_digests, &proposal)?
                        }
                        Machine::Meta(current) => {
                            let map = new_map.get_or_insert_with(|| (**current.borrow()).clone());
                            apply_meta(map, &proposal)?
                        }
                    },
                };
                self.applied_digests.push(entry.log_id.index, rows.digest());
                waiting.extend(responder.map(|responder| (responder, applied)));
            }
            self.digest = rows.digest();
            if let Machine::Ledger(ledger) = &self.machine {
                self.closed.note(rows.campaigns(), ledger.state().log_time);
            }
            let reached = Reached::by(rows.campaigns());
            let (mut rows, campaigns, freed) = rows.finish();
            self.campaigns = campaigns;
            if any {
                if new_leader {
                    let terms = self.terms.to_pb().encode_to_vec();
                    rows.put_cf(self.storage.state(), self.keys.terms(), terms);
                }
                if new_leader {
                    self.acknowledged.note_terms(&self.terms);
                }
                (self.applied, self.membership) = (last_applied, membership);
                self.commit(rows, new_map)?;
                freed.note();
                self.revisions.note(&reached);
            }
            for (responder, applied) in waiting {
                responder.send(applied);
            }
        }
        Ok(())
    }

    fn commit(&self, mut batch: WriteBatch, map: Option<ShardMap>) -> Result<(), StorageError> {
        let record = applied_to_pb(self.applied.as_ref(), &self.membership);
        batch.put_cf(self.storage.state(), self.keys.applied(), record.encode_to_vec());
        if let Some(map) = &map {
            let value = map::map_to_pb(map).encode_to_vec();
            batch.put_cf(self.storage.state(), self.keys.shard_map(), value);
        }
        self.storage.write(batch)?;
        mark(Stage::Applied, marks::up_to(self.key.shard, self.key.replica.0, self.applied));
        self.acknowledged.note_applied(self.applied.map_or(0, |id| id.index));
        if let (Machine::Meta(current), Some(map)) = (&self.machine, map)
            && map != **current.borrow()
        {
            current.send_replace(Arc::new(map));
        }
        Ok(())
    }
}

fn apply_ledger(
    ledger: &mut Ledger,
    rows: &mut LedgerBatch<'_>,
    applied_digests: &AppliedDigests,
    proposal: &Proposal,
) -> Result<Applied, ApplyError> {
    let entry = command::decode_entry(&proposal.0)?;
    if let Some(leader) = &entry.applied_digest {
        applied_digests.compare(leader)?;
    }
    let mut stamped = LogTime(entry.log_time_micros);
    let commands = command::read_entry(entry)?;
    if mutants::is(Mutant::ClockReadAtApply) {
        stamped = LogTime(SystemClock.now_micros());
    }
    let outcomes = ledger.apply(rows, stamped, commands)?;
    Ok(Applied::Ledger(outcomes))
}

fn apply_meta(map: &mut ShardMap, proposal: &Proposal) -> Result<Applied, ApplyError> {
    let command = meta::command_from_pb(pb::MetaCommand::decode(proposal.0.clone())?)?;
    Ok(Applied::Meta(match map.apply(command) {
        Ok(()) => Ok(Arc::new(map.clone())),
        Err(refusal) => Err((refusal, map.version)),
    }))
}

#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("reading the log: {0}")]
    Log(#[from] io::Error),
    #[error("decoding a log entry: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("a log entry: {0}")]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Diverged(#[from] Diverged),
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        if self.applied_digests.difference().borrow().is_some() {
            return Ok(());
        }
        match self.apply_all(entries).await {
            Ok(()) => Ok(()),
            // Nothing more is applied, so no call is answered: the replica is about to be stopped.
            Err(ApplyError::Diverged(found)) => {
                self.applied_digests.differs_at(found.index);
                Ok(())
            }
            Err(fault) => {
                fatal::abort(&format!("applying the log of shard {}", self.key.shard), &fault)
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { storage: self.storage.clone(), key: self.key }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotSource,
    ) -> Result<(), io::Error> {
        if meta.last_log_id <= self.applied {
            return Ok(());
        }
        let (storage, key) = (self.storage.clone(), self.key);
        blocking(move || match snapshot {
            SnapshotSource::Received(file) => snapshot::install(&storage, key, &file),
            SnapshotSource::State { storage: of, key: from } => {
                let file = snapshot::copy(&of, from, &storage, key)?;
                let installed = snapshot::install(&storage, key, &file);
                std::fs::remove_file(&file.path).map_err(StorageError::io(&file.path))?;
                installed
            }
        })
        .await?;
        self.load()?;
        self.acknowledged.note_terms(&self.terms);
        self.acknowledged.note_applied(self.applied.map_or(0, |id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let source = SnapshotSource::State { storage: self.storage.clone(), key: self.key };
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Ok(self.applied.map(|_| Snapshot { meta, snapshot: source }))
    }
}

/// Names the applied state a snapshot, so that openraft may purge the log behind it.
pub struct Builder {
    storage: Storage,
    key: ReplicaKey,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotSource;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (storage, key) = (self.storage.clone(), self.key);
        let applied = snapshot::applied(&storage, key.shard, key.replica)?.unwrap_or_default();
        let source = SnapshotSource::State { storage, key };
        Ok(openraft_snapshot(applied, source)?)
    }
}

/// A received snapshot file as openraft takes it.
///
/// # Errors
///
/// When its header holds no valid membership.
pub fn received_snapshot(file: SnapshotFile) -> Result<Snapshot, StorageError> {
    let applied = file.header.applied.clone().unwrap_or_default();
    openraft_snapshot(applied, SnapshotSource::Received(file))
}

fn openraft_snapshot(
    applied: pb::AppliedRecord,
    snapshot: SnapshotSource,
) -> Result<Snapshot, StorageError> {
    let (last_log_id, last_membership) =
        applied_from_pb(applied).map_err(|error| StorageError::corrupt("snapshot", error))?;
    Ok(Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, io::Error> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}

#[cfg(test)]
mod tests;
