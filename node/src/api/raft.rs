//! The serving side of Raft between nodes.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use coupon_cluster::ReplicaId;
use coupon_proto::internal as pb;
use coupon_proto::internal::raft_service_server::RaftService;
use coupon_trace::{Stage, mark};
use coupon_wire::refusal::shard_diverged;
use coupon_wire::{Malformed, ids};
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt as _};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest,
};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::status::malformed;
use crate::raft::history::Conflict;
use crate::raft::marks;
use crate::raft::replica::RaftReplica;
use crate::raft::state_machine::received_snapshot;
use crate::raft::terms::Terms;
use crate::raft::types::{
    TypeConfig, Vote, entry_from_pb, log_id_from_pb, log_id_to_pb, vote_from_pb, vote_to_pb,
};
use crate::shard::divergence::Divergence;
use crate::shard::registry::Registry;
use crate::storage::snapshot::{self, SnapshotFile};
use crate::storage::{Storage, StorageError, fatal};
use crate::stream_writer;

/// Serves Raft for all replicas of a node. Clones serve the same.
#[derive(Clone)]
pub struct RaftEndpoint {
    registry: Registry,
    storage: Storage,
    divergence: Divergence,
    incoming: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// Maximum number of states that a node receives and installs at a time: they share its disk, and each needs room for
/// itself twice.
const INCOMING_MAX: usize = 2;

impl RaftEndpoint {
    /// Serves the replicas in `registry`; ends its streams once `stopping` is cancelled.
    pub fn new(
        registry: Registry,
        storage: Storage,
        divergence: Divergence,
        stopping: CancellationToken,
    ) -> Self {
        let incoming = Arc::new(Semaphore::new(INCOMING_MAX));
        Self { registry, storage, divergence, incoming, stopping }
    }

    /// The replica a message is for. Ends the process if the sender knows that this replica has forgotten
    /// acknowledged entries: before it votes, answers or counts anything.
    fn find(&self, envelope: Option<&pb::Envelope>) -> Result<RaftReplica, Status> {
        let envelope = envelope.ok_or_else(|| malformed(&Malformed("envelope")))?;
        let shard = ids::shard_id(envelope.shard_id).map_err(|error| malformed(&error))?;
        let raft = self
            .registry
            .get_replica(shard, ReplicaId(envelope.to_replica_id))
            .map(|replica| replica.raft)
            .ok_or_else(|| Status::unavailable("the replica does not run here"))?;
        raft.witness.must_hold(envelope.acknowledged_index);
        Ok(raft)
    }

    /// Stops the replica if a leader's message contradicts what is committed here; openraft must not see it
    /// then.
    fn check_append(
        &self,
        raft: &RaftReplica,
        rpc: &AppendEntriesRequest<TypeConfig>,
    ) -> Result<(), Status> {
        let entries = rpc.entries.iter().map(|entry| entry.log_id);
        let found = raft.conflict(&rpc.vote, rpc.prev_log_id.into_iter().chain(entries));
        self.check(raft, &rpc.vote, found)
    }

    fn check(
        &self,
        raft: &RaftReplica,
        vote: &Vote,
        found: Result<Option<Conflict>, StorageError>,
    ) -> Result<(), Status> {
        match found {
            Ok(None) => Ok(()),
            Ok(Some(conflict)) => {
                let leader = ReplicaId(vote.leader_id().node_id);
                self.divergence.found(raft, leader, conflict);
                Err(shard_diverged())
            }
            Err(fault) => {
                fatal::abort(&format!("reading the log of shard {}", raft.key.shard), &fault)
            }
        }
    }
}

fn stopped(fault: impl ToString) -> Status {
    Status::unavailable(fault.to_string())
}

/// A disk that fails ends the process.
fn written<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|fault| fatal::abort("writing a snapshot", &fault))
}

fn append_from_pb(
    message: pb::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    Ok(AppendEntriesRequest {
        vote: vote_from_pb(&message.vote.ok_or(Malformed("vote"))?),
        prev_log_id: message.prev_log_id.as_ref().map(log_id_from_pb),
        entries: message.entries.into_iter().map(entry_from_pb).collect::<Result<_, _>>()?,
        leader_commit: message.leader_commit.as_ref().map(log_id_from_pb),
    })
}

fn append_to_pb(result: StreamAppendResult<TypeConfig>) -> pb::AppendResponse {
    use pb::append_response::Result as Kind;
    let kind = match result {
        Ok(matching) => {
            Kind::Matching(pb::Matching { log_id: matching.as_ref().map(log_id_to_pb) })
        }
        Err(StreamAppendError::Conflict(at)) => Kind::Conflict(log_id_to_pb(&at)),
        Err(StreamAppendError::HigherVote(vote)) => Kind::HigherVote(vote_to_pb(&vote)),
    };
    pb::AppendResponse { result: Some(kind), acknowledged_index: 0 }
}

#[tonic::async_trait]
impl RaftService for RaftEndpoint {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<pb::AppendResponse, Status>> + Send>>;
    type HeartbeatsStream =
        Pin<Box<dyn Stream<Item = Result<pb::HeartbeatsResponse, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let answers = self.clone().replicate(request.into_inner()).await?;
        let stopping = self.stopping.clone().cancelled_owned();
        Ok(Response::new(Box::pin(answers.take_until(stopping))))
    }

    async fn heartbeats(
        &self,
        request: Request<pb::HeartbeatsRequest>,
    ) -> Result<Response<Self::HeartbeatsStream>, Status> {
        let endpoint = Arc::new(self.clone());
        let heartbeats = request.into_inner().heartbeats;
        let count = heartbeats.len().max(1);
        let answers: FuturesUnordered<_> = (0..)
            .zip(heartbeats)
            .map(|(place, heartbeat)| {
                let endpoint = Arc::clone(&endpoint);
                async move { heartbeat_answer(place, endpoint.heartbeat(heartbeat).await) }
            })
            .collect();
        let answers =
            answers.ready_chunks(count).map(|answers| Ok(pb::HeartbeatsResponse { answers }));
        let stopping = self.stopping.clone().cancelled_owned();
        Ok(Response::new(Box::pin(answers.take_until(stopping))))
    }

    async fn request_vote(
        &self,
        request: Request<pb::RequestVoteRequest>,
    ) -> Result<Response<pb::RequestVoteResponse>, Status> {
        let message = request.into_inner();
        let raft = self.find(message.envelope.as_ref())?;
        let vote = message.vote.ok_or_else(|| malformed(&Malformed("vote")))?;
        let mut rpc: VoteRequest<TypeConfig> =
            VoteRequest::new(vote_from_pb(&vote), message.last_log_id.as_ref().map(log_id_from_pb));
        rpc.leadership_transfer = message.leadership_transfer;
        if !message.leadership_transfer {
            raft.tell_core_of_lease().await.map_err(stopped)?;
        }
        let answer = if message.pre_vote {
            raft.core().pre_vote(rpc).await
        } else {
            raft.doubt_leader();
            raft.core().vote(rpc).await
        }
        .map_err(stopped)?;
        Ok(Response::new(pb::RequestVoteResponse {
            vote: Some(vote_to_pb(&answer.vote)),
            granted: answer.vote_granted,
            last_log_id: answer.last_log_id.as_ref().map(log_id_to_pb),
            acknowledged_index: raft.witness.acknowledged_by(vote.replica_id),
        }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::InstallSnapshotRequest>>,
    ) -> Result<Response<pb::InstallSnapshotResponse>, Status> {
        let mut messages = request.into_inner();
        let first =
            messages.message().await?.ok_or_else(|| malformed(&Malformed("first message")))?;
        let raft = self.find(first.envelope.as_ref())?;
        let vote = first.vote.as_ref().ok_or_else(|| malformed(&Malformed("vote")))?;
        let vote = vote_from_pb(vote);
        let place = self.incoming.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted("other states are being received: send it again later")
        })?;
        let (received, file) = self.receive(&raft, messages).await?;
        let terms = Terms::from_pb(file.header.terms.clone().unwrap_or_default());
        let snapshot = received_snapshot(file).map_err(stopped)?;
        if let Some(last) = snapshot.meta.last_log_id {
            if last.leader_id > *vote.leader_id() {
                return Err(Status::unavailable(
                    "the sender is deposed: its state is a later leader's",
                ));
            }
            self.check(&raft, &vote, raft.snapshot_conflict(&vote, last, &terms))?;
        }
        // A caller that goes away must not take the file from under an installation.
        let installed = tokio::spawn(async move {
            let answer = raft.core().install_full_snapshot(vote, snapshot).await;
            drop((received, place));
            answer
        });
        let answer = installed.await.map_err(stopped)?.map_err(stopped)?;
        Ok(Response::new(pb::InstallSnapshotResponse { vote: Some(vote_to_pb(&answer.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let message = request.into_inner();
        let raft = self.find(message.envelope.as_ref())?;
        let from = message.from_leader.ok_or_else(|| malformed(&Malformed("vote")))?;
        let rpc = TransferLeaderRequest::new(
            vote_from_pb(&from),
            message.to_replica_id,
            message.last_log_id.as_ref().map(log_id_from_pb),
        );
        raft.doubt_leader();
        let answer = raft.core().handle_transfer_leader(rpc).await.map_err(stopped)?;
        Ok(Response::new(pb::TransferLeaderResponse { accepted: answer.is_ok() }))
    }

    async fn report_divergence(
        &self,
        request: Request<pb::ReportDivergenceRequest>,
    ) -> Result<Response<pb::ReportDivergenceResponse>, Status> {
        let message = request.into_inner();
        let record = message.record.ok_or_else(|| malformed(&Malformed("record")))?;
        let envelope = message.envelope.as_ref();
        let key = match self.find(envelope) {
            Ok(raft) => raft.key,
            Err(refused) => return self.stopped_before(envelope).ok_or(refused),
        };
        let from = ReplicaId(message.from_replica_id);
        if from == key.replica || !self.divergence.is_member(key.shard, from) {
            return Err(Status::failed_precondition("the reporter is not a member of the shard"));
        }
        // A caller that hangs up must not leave a replica half stopped.
        let divergence = self.divergence.clone();
        let stopping = tokio::spawn(async move { divergence.stop(key, record).await });
        stopping.await.map_err(stopped)?;
        Ok(Response::new(pb::ReportDivergenceResponse {}))
    }
}

fn heartbeat_answer(place: u32, answer: Result<pb::AppendResponse, Status>) -> pb::HeartbeatAnswer {
    use pb::heartbeat_answer::Answer;
    let answer = match answer {
        Ok(response) => Answer::Response(response),
        Err(status) => Answer::Refusal(status.message().to_owned()),
    };
    pb::HeartbeatAnswer { place, answer: Some(answer) }
}

impl RaftEndpoint {
    async fn heartbeat(&self, message: pb::AppendRequest) -> Result<pb::AppendResponse, Status> {
        let raft = self.find(message.envelope.as_ref())?;
        let rpc = append_from_pb(message).map_err(|error| malformed(&error))?;
        self.check_append(&raft, &rpc)?;
        let prev = rpc.prev_log_id;
        let leader = rpc.vote.leader_id().node_id;
        let result = raft.hear(rpc).await.map_err(stopped)?;
        // The leader of this term names the last entry that this replica has told it to be durable.
        if let (Some(prev), Err(StreamAppendError::Conflict(_))) = (prev, &result) {
            let (shard, replica) = (raft.key.shard, raft.key.replica);
            raft.witness.forgot(&format!(
                "its replica {replica} of shard {shard} told the leader that it has the entry at index \
                 {}, but does not have it",
                prev.index
            ));
        }
        let acknowledged_index = raft.witness.acknowledged_by(leader);
        Ok(pb::AppendResponse { acknowledged_index, ..append_to_pb(result) })
    }

    /// The answer to a report about a replica that is stopped for good already.
    fn stopped_before(
        &self,
        envelope: Option<&pb::Envelope>,
    ) -> Option<Response<pb::ReportDivergenceResponse>> {
        let envelope = envelope?;
        let diverged = self.registry.diverged(ids::shard_id(envelope.shard_id).ok()?)?;
        (diverged.key.replica.0 == envelope.to_replica_id)
            .then(|| Response::new(pb::ReportDivergenceResponse {}))
    }

    /// Reads the first message of a stream, which says which replica it is for, and hands the
    /// others over to it.
    async fn replicate(
        self,
        mut messages: Streaming<pb::AppendRequest>,
    ) -> Result<impl Stream<Item = Result<pb::AppendResponse, Status>> + Send, Status> {
        let first =
            messages.message().await?.ok_or_else(|| malformed(&Malformed("first message")))?;
        let raft = self.find(first.envelope.as_ref())?;
        let (shard, replica) = (raft.key.shard, raft.key.replica.0);
        let stopping = self.stopping.clone();
        // The sender, once it has sent entries or a commit index; until then, the current leader.
        let sender = Arc::new(OnceLock::new());
        // A message that cannot be read ends the input, and with it the stream: the leader will
        // begin again where this replica is.
        let requests = messages
            .map({
                let (raft, sender) = (raft.clone(), Arc::clone(&sender));
                move |message: Result<pb::AppendRequest, Status>| {
                    let request = append_from_pb(message.ok()?).ok()?;
                    sender.get_or_init(|| ReplicaId(request.vote.leader_id().node_id));
                    let subject = marks::entries(shard, replica, &request.entries);
                    mark(Stage::ReplicationReceived, subject);
                    // A request that contradicts what is committed ends the input as well.
                    self.check_append(&raft, &request).ok()?;
                    Some(request)
                }
            })
            .take_while(|request| std::future::ready(request.is_some()))
            .filter_map(std::future::ready);
        let results: BoxStream<'static, _> = Box::pin(raft.core().stream_append(requests));
        // However the stream ends: it may be dropped before the loss of its connection is read from it.
        let (ended, objected) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let stream = ended.clone().drop_guard();
        let was_objected = Arc::clone(&objected);
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = stopping.cancelled() => return,
            }
            // The sender ends a stream on which this replica objects, and begins another one.
            if !was_objected.load(Ordering::Relaxed) {
                raft.replace_lost_leader(sender.get().copied()).await;
            }
        });
        Ok(results.map(move |result| match result {
            Ok(result) => {
                let _stream = &stream;
                match &result {
                    Ok(matching) => {
                        mark(Stage::ReplicationAnswered, marks::up_to(shard, replica, *matching));
                    }
                    Err(_) => objected.store(true, Ordering::Relaxed),
                }
                Ok(append_to_pb(result))
            }
            Err(fault) => Err(stopped(fault)),
        }))
    }

    /// Writes a snapshot to a file as its parts arrive, and checks it. The file is removed when the path is
    /// dropped.
    async fn receive(
        &self,
        raft: &RaftReplica,
        mut messages: Streaming<pb::InstallSnapshotRequest>,
    ) -> Result<(TempPath, SnapshotFile), Status> {
        let path = snapshot::incoming_path(&self.storage, raft.key);
        let received = TempPath::try_from_path(&path).map_err(stopped)?;
        let mut file = written(tokio::fs::File::create(&path).await);
        let late =
            |_| Status::deadline_exceeded("the next part of the snapshot did not come in time");
        while let Some(part) = tokio::time::timeout(stream_writer::IDLE_MAX, messages.message())
            .await
            .map_err(late)??
        {
            written(file.write_all(&part.data).await);
        }
        written(file.sync_all().await);
        let shard = raft.key.shard;
        let checked = tokio::task::spawn_blocking(move || snapshot::check(&path, shard)).await;
        match checked.map_err(stopped)? {
            Ok(file) => Ok((received, file)),
            Err(error @ StorageError::Corrupt { .. }) => Err(Status::data_loss(error.to_string())),
            Err(fault) => fatal::abort("reading a snapshot", &fault),
        }
    }
}
