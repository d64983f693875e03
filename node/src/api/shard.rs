//! What routers call on the node that leads a shard.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::{NodeId, ShardId};
use coupon_ledger::LogTime;
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

use super::reader::{ReadError, Reader, campaign_name};
use super::status::{from_replica_error, malformed};
use crate::clock::TrustedClock;
use crate::codec::command;
use crate::peers::{CONNECTION_WINDOW_BYTES, EXPORT_WINDOW_BYTES, Lane, MESSAGE_BYTES_MAX, Peers};
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
/// How long a question for a later leader waits for one. Less than a router waits for the answer.
const LATER_LEADER_WAIT: Duration = Duration::from_millis(500);
/// How many messages of a stream of coupons may wait for the router.
const STREAM_PAGES_MAX: usize = 4;
/// How long a stream of coupons waits for a router that does not take them. Until then it holds a
/// thread and a view of the state.
const STREAM_IDLE_MAX: Duration = Duration::from_secs(30);

/// How many streams of coupons may be under way. Each holds a thread and a view of the state.
const EXPORTS_MAX: usize = 32;
const _: () =
    assert!(EXPORTS_MAX * EXPORT_WINDOW_BYTES as usize <= CONNECTION_WINDOW_BYTES as usize);
/// How many reads look at the state at a time; further ones wait for their turn, as long as their callers
/// do.
const READS_MAX: usize = 64;

/// Serves the shards of a node.
pub struct ShardEndpoint {
    registry: Registry,
    storage: Storage,
    clock: TrustedClock,
    peers: Peers,
    stopping: CancellationToken,
    exports: Arc<Semaphore>,
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
        clock: TrustedClock,
        peers: Peers,
        stopping: CancellationToken,
    ) -> Self {
        let (exports, reads) = (Semaphore::new(EXPORTS_MAX), Semaphore::new(READS_MAX));
        let (exports, reads) = (Arc::new(exports), Arc::new(reads));
        Self { registry, storage, clock, peers, stopping, exports, reads }
    }

    /// Where a call is answered. During an election it waits for the end of that, so that routers need not
    /// ask again and again.
    async fn place(&self, shard_id: u32, forward: bool, lane: Lane) -> Result<Place, Status> {
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
        let channel = self.peers.channel(node, lane).ok_or_else(no_leader)?;
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

/// Confirms leadership for a read that comes now.
async fn confirm(replica: &Replica) -> Result<(), Status> {
    replica.raft.read_index(READ_INDEX_TIMEOUT).await.map_err(|error| from_replica_error(&error))
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
        let replica = match self.place(hello.shard_id, hello.forward, Lane::Forward).await? {
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
        let replica = match self.place(request.shard_id, request.forward, Lane::Forward).await? {
            Place::Here(replica) => replica,
            Place::Leader(mut leader) => {
                let request = pb::ReadRequest { forward: false, ..request };
                let reading =
                    leader.answer(READ_INDEX_TIMEOUT, async |client| client.read(request).await);
                return Ok(Response::new(reading.await?));
            }
        };
        let query = request.query.ok_or_else(|| malformed(&Malformed("query")))?;
        confirm(&replica).await?;
        let (storage, now) = (self.storage.clone(), self.now());
        let turn = self.reads.clone().acquire_owned().await.map_err(|_| gone())?;
        // Rows may have to come from disk, and heartbeats must not wait for that.
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Reader { storage: &storage, replica: &replica, now }.answer(request.epoch, query)
        });
        let answer = answer.await.map_err(|error| Status::internal(error.to_string()))?;
        answer.map(Response::new).map_err(ReadError::into_status)
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

    type StreamCouponsStream = Answers<pb::StreamCouponsResponse>;

    async fn stream_coupons(
        &self,
        request: Request<pb::StreamCouponsRequest>,
    ) -> Result<Response<Self::StreamCouponsStream>, Status> {
        let request = request.into_inner();
        let place = self.place(request.shard_id, request.forward, Lane::ForwardExports);
        let replica = match place.await? {
            Place::Here(replica) => replica,
            Place::Leader(mut leader) => {
                let request = pb::StreamCouponsRequest { forward: false, ..request };
                let opening = leader.answer(READ_INDEX_TIMEOUT, async |client| {
                    client.stream_coupons(request).await
                });
                return Ok(self.until_stopping(opening.await?));
            }
        };
        let name = campaign_name(&request.campaign).map_err(ReadError::into_status)?;
        confirm(&replica).await?;
        let (pages, outgoing) = mpsc::channel(STREAM_PAGES_MAX);
        let place = self.exports.clone().try_acquire_owned();
        let place = place.map_err(|_| Status::resource_exhausted("too many exports under way"))?;
        let (storage, now) = (self.storage.clone(), self.now());
        let runtime = tokio::runtime::Handle::current();
        // The view lives on a thread of its own, since the router may take the pages slowly.
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let reader = Reader { storage: &storage, replica: &replica, now };
            let sent = reader.stream_coupons(request.epoch, &name, |page| {
                let sent = runtime.block_on(pages.send_timeout(Ok(page), STREAM_IDLE_MAX));
                sent.map_err(|_| ReadError::Gone)
            });
            if let Err(error) = sent {
                // A router that went away needs no error; one that takes nothing counts the coupons.
                let _ = pages.try_send(Err(error.into_status()));
            }
        });
        Ok(self.until_stopping(ReceiverStream::new(outgoing)))
    }
}

impl ShardEndpoint {
    fn now(&self) -> LogTime {
        // A clock that is off says nothing; log time is what is left then.
        LogTime(self.clock.stamp_micros().unwrap_or(0))
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
