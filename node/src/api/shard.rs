//! What routers call on the node that leads a shard.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::{NodeId, ShardId};
use coupon_proto::internal as pb;
use coupon_proto::internal::shard_service_client::ShardServiceClient;
use coupon_proto::internal::shard_service_server::ShardService;
use coupon_trace::{Stage, Subject, mark};
use coupon_transport::{AddressedChannel, Mismatch};
use coupon_wire::{Malformed, ids, refusal};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::reader::{Moment, ReadError, Reader, campaign_name};
use super::status::{from_replica_error, malformed};
use crate::codec::command;
use crate::peers::{Lane, MESSAGE_BYTES_MAX, Peers};
use crate::raft::replica::Leadership;
use crate::shard::proposer::ENTRY_COMMANDS_MAX;
use crate::shard::registry::{OpenStream, Registry, Replica};
use crate::shard::submission::{EncodedCommand, Submission};
use crate::storage::Storage;

/// How many answers of a stream may wait for its router; beyond that its batches wait.
const ANSWERS_MAX: usize = 64;
/// How many bytes of commands come together at most; a router sends half of it.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How large a router's message may be: a batch and room to spare.
pub const REQUEST_BYTES_MAX: usize = 2 << 20;
/// How long a ReadIndex round may take.
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the leader may take to open a stream that is passed on to it. Less than a router waits, so
/// that the router learns who did not answer.
const FORWARD_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a question waits for a replica to learn which one leads, while an election is under way. Together
/// with [`FORWARD_TIMEOUT`], less than a router waits for an answer; and less than that, for one that is forwarded.
const LEADER_WAIT: Duration = Duration::from_millis(200);
/// How long a question may wait for a campaign to change: as long as routers ask for, and half as long as a call that is
/// forwarded may take.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a question for a later leader waits for one. Less than a router waits for the answer.
const LATER_LEADER_WAIT: Duration = Duration::from_millis(500);
/// How many reads look at the state at a time; further ones wait for their turn, as long as their callers
/// do.
const READS_MAX: usize = 64;

/// Serves the shards of a node.
pub struct ShardEndpoint {
    registry: Registry,
    storage: Storage,
    peers: Peers,
    stopping: CancellationToken,
    reads: Arc<Semaphore>,
}

/// Where a call is answered.
enum Place {
    /// By this replica, if it leads.
    Here(Replica),
    /// By the leader, which it is forwarded to.
    Leader(Leader),
}

/// A leader on another node.
struct Leader {
    replica: Replica,
    node: NodeId,
    client: ShardServiceClient<AddressedChannel>,
}

impl ShardEndpoint {
    /// Serves the replicas in `registry`; ends the streams of routers once `stopping` is cancelled.
    pub fn new(
        registry: Registry,
        storage: Storage,
        peers: Peers,
        stopping: CancellationToken,
    ) -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { registry, storage, peers, stopping, reads }
    }

    /// Where a call is answered. During an election it waits for the end of that, so that routers need not
    /// ask again and again.
    async fn place(&self, shard_id: u32, forward: bool) -> Result<Place, Status> {
        let replica = self.replica(shard_id)?;
        tokio::select! {
            () = replica.raft.wait_for_leader(LEADER_WAIT) => {}
            () = self.stopping.cancelled() => return Err(gone()),
        }
        if !forward || replica.raft.is_leader() {
            // Reads would assure the followers that this node leads, as heartbeats do.
            let stuck = self.storage.flusher().is_stuck();
            return if stuck { Err(refusal::not_leader(None)) } else { Ok(Place::Here(replica)) };
        }
        let no_leader = || refusal::not_leader(None);
        let node = replica.raft.leader_node().ok_or_else(no_leader)?;
        let channel = self.peers.channel(node, Lane::Forward).ok_or_else(no_leader)?;
        let client = ShardServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Place::Leader(Leader { replica, node, client }))
    }

    /// A stream of answers that ends when this node stops.
    fn until_stopping<T: 'static>(
        &self,
        answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Response<Answers<T>> {
        Response::new(Box::pin(answers.take_until(self.stopping.clone().cancelled_owned())))
    }

    fn replica(&self, shard_id: u32) -> Result<Replica, Status> {
        let shard = ids::shard_id(shard_id).map_err(|error| malformed(&error))?;
        if shard == ShardId::META {
            return Err(Status::invalid_argument("the meta shard has no campaigns"));
        }
        self.registry.get(shard).ok_or_else(|| match self.registry.diverged(shard) {
            Some(_) => refusal::shard_diverged(),
            None => refusal::not_leader(None),
        })
    }
}

/// Confirms leadership for a read that comes now. Returns when that is.
async fn confirm(replica: &Replica) -> Result<Moment, Status> {
    // Both before, since the next leader may stamp its entries with earlier times than a later one.
    let leadership = replica.raft.leadership().map_err(|error| from_replica_error(&error))?;
    let came = Moment { time: replica.proposer.read_time(), term: leadership.term };
    let confirmed = replica.raft.read_index(READ_INDEX_TIMEOUT).await;
    confirmed.map_err(|error| from_replica_error(&error))?;
    Ok(came)
}

impl Leader {
    /// The answer to a call that is forwarded to this leader. A refusal when it does not answer in time, when
    /// another one is elected meanwhile, or when another node is in its place: the caller would take that
    /// mismatch for one with this node.
    async fn answer<T>(
        &mut self,
        timeout: Duration,
        call: impl AsyncFnOnce(&mut ShardServiceClient<AddressedChannel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        let raft = &self.replica.raft;
        let answered = tokio::select! {
            answered = tokio::time::timeout(timeout, call(&mut self.client)) => answered,
            () = raft.wait_until_replaced(self.node) => {
                return Err(refusal::not_leader(raft.leader_node()));
            }
        };
        let answer = answered.map_err(|_| refusal::not_leader(None))?;
        answer.map(Response::into_inner).map_err(|status| match Mismatch::of(&status) {
            Some(_) => refusal::not_leader(None),
            None => status,
        })
    }
}

/// The end of this node.
fn gone() -> Status {
    Status::unavailable("this node is stopping")
}

/// A stream of answers to a router.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ShardService for ShardEndpoint {
    type ProposeStream = Answers<pb::ProposeResponse>;

    async fn propose(
        &self,
        request: Request<Streaming<pb::ProposeRequest>>,
    ) -> Result<Response<Self::ProposeStream>, Status> {
        let mut messages = request.into_inner();
        let Some(pb::propose_request::Message::Hello(hello)) =
            messages.message().await?.and_then(|first| first.message)
        else {
            return Err(malformed(&Malformed("hello")));
        };
        let replica = match self.place(hello.shard_id, hello.forward).await? {
            Place::Here(replica) => replica,
            Place::Leader(mut leader) => {
                let hello = pb::RouterHello { forward: false, ..hello };
                let hello = Some(pb::propose_request::Message::Hello(hello));
                let first = stream::iter([pb::ProposeRequest { message: hello }]);
                let rest = messages
                    .take_while(|message| std::future::ready(message.is_ok()))
                    .filter_map(|message| std::future::ready(message.ok()));
                let messages = first.chain(rest);
                let opening =
                    leader.answer(FORWARD_TIMEOUT, async |client| client.propose(messages).await);
                let answers = opening.await?;
                return Ok(self.until_stopping(answers));
            }
        };
        let leadership = replica.raft.leadership().map_err(|error| from_replica_error(&error))?;
        let stream = replica
            .open_stream(&hello)
            .ok_or_else(|| Status::aborted("the router has opened a newer stream"))?;
        let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
        let session = Session {
            stream,
            leadership,
            answers,
            #[cfg(feature = "mutants")]
            storage: self.storage.clone(),
        };
        tokio::spawn(session.run(messages));
        Ok(self.until_stopping(ReceiverStream::new(outgoing)))
    }

    async fn read(
        &self,
        request: Request<pb::ReadRequest>,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        let request = request.into_inner();
        let replica = match self.place(request.shard_id, request.forward).await? {
            Place::Here(replica) => replica,
            Place::Leader(mut leader) => {
                let request = pb::ReadRequest { forward: false, ..request };
                let reading =
                    leader.answer(READ_INDEX_TIMEOUT, async |client| client.read(request).await);
                return Ok(Response::new(reading.await?));
            }
        };
        let query = request.query.ok_or_else(|| malformed(&Malformed("query")))?;
        if let Some(wait) = &request.wait {
            self.wait(&replica, wait).await?;
        }
        let came = confirm(&replica).await?;
        let answer = self.look(replica, came, move |reader| reader.answer(request.epoch, query));
        answer.await.map(Response::new)
    }

    async fn get_leader(
        &self,
        request: Request<pb::GetLeaderRequest>,
    ) -> Result<Response<pb::GetLeaderResponse>, Status> {
        let pb::GetLeaderRequest { shard_id, after_term } = request.into_inner();
        let raft = self.replica(shard_id)?.raft;
        if after_term > 0 {
            tokio::select! {
                () = raft.wait_for_leader_after(after_term, LATER_LEADER_WAIT) => {}
                () = self.stopping.cancelled() => return Err(gone()),
            }
        }
        let progress = raft.progress();
        let leads = raft.surely_leads() && !self.storage.flusher().is_stuck();
        let leader_node_id = progress.leader.map_or(0, |node| node.get());
        Ok(Response::new(pb::GetLeaderResponse { term: progress.term, leader_node_id, leads }))
    }
}

impl ShardEndpoint {
    /// Looks at the state of a replica. Rows may have to come from disk, and heartbeats must not wait for that.
    async fn look<T: Send + 'static>(
        &self,
        replica: Replica,
        came: Moment,
        look: impl FnOnce(&Reader<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Status> {
        let storage = self.storage.clone();
        let turn = self.reads.clone().acquire_owned().await.map_err(|_| gone())?;
        let found = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            look(&Reader { storage: &storage, replica: &replica, came })
        });
        let found = found.await.map_err(|error| Status::internal(error.to_string()))?;
        found.map_err(ReadError::into_status)
    }

    /// Waits until a campaign has another revision than its router knows, or that has taken long enough.
    async fn wait(&self, replica: &Replica, wait: &pb::RevisionWait) -> Result<(), Status> {
        let name = campaign_name(&wait.campaign).map_err(ReadError::into_status)?;
        let mut next = replica.raft.revisions.next_of(&name);
        // After that, so that nothing is missed in between. A revision is the same at any time.
        let came = Moment::default();
        let found =
            self.look(replica.clone(), came, move |reader| reader.revision_of(&name)).await?;
        if found != Some(wait.revision) {
            return Ok(());
        }
        let long_enough = Duration::from_micros(wait.micros_max).min(WAIT_MAX);
        tokio::select! {
            () = next.other_than(wait.revision) => Ok(()),
            () = tokio::time::sleep(long_enough) => Ok(()),
            () = self.stopping.cancelled() => Err(gone()),
        }
    }
}

/// One stream of a router.
struct Session {
    stream: OpenStream,
    leadership: Leadership,
    answers: mpsc::Sender<Result<pb::ProposeResponse, Status>>,
    #[cfg(feature = "mutants")]
    storage: Storage,
}

impl Session {
    async fn run(self, mut messages: Streaming<pb::ProposeRequest>) {
        let hello = pb::NodeHello { term: self.leadership.term };
        let hello = pb::propose_response::Message::Hello(hello);
        if self.answers.send(Ok(pb::ProposeResponse { message: Some(hello) })).await.is_err() {
            return;
        }
        // A router that goes away, or breaks the protocol, ends the stream.
        while let Ok(Some(message)) = messages.message().await {
            let Some(pb::propose_request::Message::Batch(batch)) = message.message else { return };
            let batch_id = batch.batch_id;
            let shard = self.stream.replica().raft.key.shard.get();
            let subject = Subject::Batch { shard: shard.into(), batch: batch_id.into() };
            mark(Stage::BatchReceived, subject);
            let (commands, bytes) = match read_batch(batch) {
                Ok(read) => read,
                Err(refused) => {
                    // A router that went away needs no answer.
                    let _ = self.answers.send(Err(refused)).await;
                    return;
                }
            };
            // Room for the answer is taken before the batch is, so that a router that does not
            // read its answers stops being read from.
            let answers = self.answers.clone();
            let Ok(room) = self.answers.clone().reserve_owned().await else { return };
            let (replies, wait) = oneshot::channel();
            let (leadership, stream) = (self.leadership, self.stream.tag().of_batch(batch_id));
            let submission = Submission { leadership, stream, commands, bytes, replies };
            let raft = &self.stream.replica().raft;
            #[cfg(feature = "mutants")]
            let submission = super::outside_log::screen(&self.storage, raft.key, submission);
            let leads = raft.leadership().ok() == Some(self.leadership);
            if !leads || !self.stream.submit(submission) {
                let leader = raft.leader_node();
                room.send(Err(refusal::not_leader(leader)));
                return;
            }
            tokio::spawn(async move {
                // A proposer that is gone never answers, and the router counts that as unknown. A
                // router that is gone sends its commands once more: these are not proposed any more.
                let replies = tokio::select! {
                    replies = wait => replies,
                    () = answers.closed() => return,
                };
                if let Ok(replies) = replies {
                    let batch = pb::ReplyBatch { batch_id, replies };
                    let message = Some(pb::propose_response::Message::Batch(batch));
                    mark(Stage::RepliesSent, subject);
                    room.send(Ok(pb::ProposeResponse { message }));
                }
            });
        }
    }
}

/// The commands of a batch, and how many bytes they have. Refuses a batch that is too large for an entry of the
/// log, and one with operations that this version does not know. What a command says is looked at where it is
/// applied.
fn read_batch(batch: pb::CommandBatch) -> Result<(Vec<EncodedCommand>, usize), Status> {
    if batch.commands.len() > ENTRY_COMMANDS_MAX {
        return Err(Status::invalid_argument("too many commands in a batch"));
    }
    if batch.deadline_micros.len() != batch.commands.len() {
        return Err(Status::invalid_argument("a batch without a deadline for each command"));
    }
    if batch.commands.iter().any(|command| command::has_unknown_operation(command)) {
        return Err(Status::invalid_argument(
            "a command of a newer version: upgrade the nodes before the routers",
        ));
    }
    let bytes = batch.commands.iter().map(Bytes::len).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(Status::invalid_argument("too many bytes in a batch"));
    }
    let commands = batch.commands.into_iter().zip(batch.deadline_micros);
    let commands =
        commands.map(|(bytes, deadline_micros)| EncodedCommand { bytes, deadline_micros });
    Ok((commands.collect(), bytes))
}
