//! The calling side of Raft between nodes.
//!
//! Replication is one ordered, pipelined stream for each pair of replicas.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::{NodeId, ShardId};
use coupon_proto::internal as pb;
use coupon_proto::internal::raft_service_client::RaftServiceClient;
use coupon_trace::{Stage, mark};
use coupon_transport::AddressedChannel;
use futures::{Stream, StreamExt as _, stream};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio_util::sync::CancellationToken;

use super::marks;
use super::purging::StreamCuts;
use super::state_machine::{Snapshot, SnapshotSource};
use super::state_transfers::StateTransfers;
use super::types::{
    Member, TypeConfig, Vote, entry_to_pb, log_id_from_pb, log_id_to_pb, vote_from_pb, vote_to_pb,
};
use super::witness::Witness;
use crate::peers::{Lane, MESSAGE_BYTES_MAX, Peers};
use crate::storage::snapshot;
use crate::stream_writer;

/// How long a peer may take to accept a replication stream: several ways there and back over a bad
/// network, since each failure costs a pause.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before an unreachable peer is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum time from the last part of a snapshot to the answer: the receiver checks and installs it. Before that,
/// only silence is bounded, since a large state takes its time.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// Why a stream was cut.
const CUT: &str = "too far behind: the entries that it lacks are purged";

/// Makes the clients of one replica.
#[derive(Clone)]
pub struct NetworkFactory {
    /// The channels of its node.
    pub(super) peers: Peers,
    /// Its shard.
    pub(super) shard: ShardId,
    /// Its memory of what was acknowledged.
    pub(super) witness: Witness,
    /// The states that it is sending.
    pub(super) transfers: StateTransfers,
    /// When its streams are cut.
    pub(super) cuts: StreamCuts,
}

impl NetworkFactory {
    fn client(&self, target: u64, member: &Member, lane: Lane) -> Network {
        let node = NodeId::new(member.node_id).ok();
        let (peers, witness) = (self.peers.clone(), self.witness.clone());
        let (transfers, cuts) = (self.transfers.clone(), self.cuts.clone());
        Network { peers, shard: self.shard, target, node, lane, witness, transfers, cuts }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, member: &Member) -> Network {
        self.client(target, member, Lane::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, member: &Member) -> Network {
        self.client(target, member, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, member: &Member) -> Network {
        self.client(target, member, Lane::Snapshot)
    }
}

/// The client of one replica for one other.
pub struct Network {
    peers: Peers,
    shard: ShardId,
    target: u64,
    node: Option<NodeId>,
    lane: Lane,
    witness: Witness,
    transfers: StateTransfers,
    cuts: StreamCuts,
}

type RpcError = RPCError<TypeConfig>;
type AppendResult = Result<StreamAppendResult<TypeConfig>, RpcError>;

impl Network {
    fn client(&self, lane: Lane) -> Result<RaftServiceClient<AddressedChannel>, RpcError> {
        let channel = self.node.and_then(|node| self.peers.channel(node, lane));
        let channel = channel.ok_or_else(|| unreachable("the shard map has no address for it"))?;
        Ok(RaftServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn envelope(&self) -> Option<pb::Envelope> {
        Some(pb::Envelope {
            shard_id: self.shard.get(),
            to_replica_id: self.target,
            acknowledged_index: self.witness.acknowledged_by(self.target),
        })
    }

    /// A heartbeat: the stream would queue it behind large batches.
    async fn heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
        option: &RPCOption,
    ) -> AppendResult {
        let mut message = append_to_pb(request);
        message.envelope = self.envelope();
        let node = self.node.ok_or_else(|| unreachable("its node has no valid id"))?;
        let answer = self.peers.heartbeat(node, message, option.hard_ttl()).await;
        let answer = answer.map_err(unreachable)?;
        self.witness.must_hold(answer.acknowledged_index);
        append_from_pb(answer)
    }

    async fn request_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut call = tonic::Request::new(pb::RequestVoteRequest {
            envelope: self.envelope(),
            vote: Some(vote_to_pb(&rpc.vote)),
            last_log_id: rpc.last_log_id.as_ref().map(log_id_to_pb),
            leadership_transfer: rpc.leadership_transfer,
            pre_vote,
        });
        call.set_timeout(option.hard_ttl());
        let mut client = self.client(Lane::Control)?;
        let answer = client.request_vote(call).await.map_err(unreachable)?.into_inner();
        // Checked before the vote counts.
        self.witness.must_hold(answer.acknowledged_index);
        let vote = answer.vote.as_ref().map(vote_from_pb).ok_or_else(|| unreachable("no vote"))?;
        let last = answer.last_log_id.as_ref().map(log_id_from_pb);
        Ok(VoteResponse::new(vote, last, answer.granted))
    }

    /// Sends the state of this replica as it is when this begins: that of `snapshot` or a later one, which the
    /// receiver's next answers show.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotSource,
    ) -> Result<SnapshotResponse<TypeConfig>, RpcError> {
        let SnapshotSource::State { storage, key } = snapshot else {
            return Err(unreachable("only the state of this replica is sent"));
        };
        let _transfer = self.transfers.begin();
        let mut client = self.client(Lane::Snapshot)?;
        let first = pb::InstallSnapshotRequest {
            envelope: self.envelope(),
            vote: Some(vote_to_pb(&vote)),
            data: Bytes::new(),
        };
        let sent = CancellationToken::new();
        let sending = sent.clone().drop_guard();
        let parts = stream_writer::stream_written_by(move |out| {
            let _sending = sending;
            snapshot::write(&storage, key, out)
        });
        let parts = parts.map(|data| pb::InstallSnapshotRequest { data, ..Default::default() });
        let late = async {
            sent.cancelled().await;
            tokio::time::sleep(INSTALL_TIMEOUT).await;
        };
        let answer = tokio::select! {
            answer = client.install_snapshot(stream::iter([first]).chain(parts)) => answer,
            () = late => return Err(unreachable("a snapshot was not installed in time")),
        };
        let answer = answer.map_err(unreachable)?.into_inner();
        let vote = answer.vote.as_ref().map(vote_from_pb).ok_or_else(|| unreachable("no vote"))?;
        Ok(SnapshotResponse::new(vote))
    }
}

impl NetStreamAppend<TypeConfig> for Network {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendResult>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            if self.lane == Lane::Control {
                let Some(request) = input.next().await else {
                    return Ok(Box::pin(stream::empty()) as BoxStream<'s, AppendResult>);
                };
                let result = self.heartbeat(request, &option).await;
                return Ok(Box::pin(stream::iter([result])) as BoxStream<'s, AppendResult>);
            }
            let mut client = self.client(Lane::Replication)?;
            let hello = pb::AppendRequest { envelope: self.envelope(), ..Default::default() };
            let (shard, target) = (self.shard, self.target);
            let requests = input.map(move |request| {
                mark(Stage::ReplicationSent, marks::entries(shard, target, &request.entries));
                append_to_pb(request)
            });
            let requests = stream::iter([hello]).chain(requests);
            let opening = client.append(tonic::Request::new(requests));
            let mut cut = self.cuts.next(target);
            let answers = tokio::select! {
                answers = tokio::time::timeout(OPEN_TIMEOUT, opening) => answers,
                () = &mut cut => return Err(unreachable(CUT)),
            };
            let answers = answers.map_err(unreachable)?.map_err(unreachable)?.into_inner();
            let results = answers.map(move |answer| {
                let result = answer.map_err(unreachable).and_then(append_from_pb);
                if let Ok(Ok(matching)) = &result {
                    mark(Stage::ReplicationConfirmed, marks::up_to(shard, target, *matching));
                }
                result
            });
            let until_cut = stream::unfold(Some((results, cut)), |streams| async move {
                let (mut results, mut cut) = streams?;
                tokio::select! {
                    result = results.next() => Some((result?, Some((results, cut)))),
                    () = &mut cut => Some((Err(unreachable(CUT)), None)),
                }
            });
            Ok(Box::pin(until_cut) as BoxStream<'s, AppendResult>)
        })
    }
}

impl NetVote<TypeConfig> for Network {
    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.request_vote(rpc, false, option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.request_vote(rpc, true, option).await
    }
}

impl NetSnapshot<TypeConfig> for Network {
    type SnapshotData = SnapshotSource;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = self.send_snapshot(vote, snapshot.snapshot) => {
                answer.map_err(|error| StreamingError::Unreachable(Unreachable::from_string(error)))
            }
        }
    }
}

impl NetTransferLeader<TypeConfig> for Network {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let mut call = tonic::Request::new(pb::TransferLeaderRequest {
            envelope: self.envelope(),
            from_leader: Some(vote_to_pb(request.from_leader())),
            last_log_id: request.last_log_id().map(log_id_to_pb),
            to_replica_id: *request.to_node_id(),
        });
        call.set_timeout(option.hard_ttl());
        let mut client = self.client(Lane::Control)?;
        let answer = client.transfer_leader(call).await.map_err(unreachable)?.into_inner();
        if answer.accepted { Ok(Ok(())) } else { Err(unreachable("it declined to lead")) }
    }
}

impl NetBackoff<TypeConfig> for Network {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY_INTERVAL)))
    }
}

/// Every failure to reach a peer is reported as `Unreachable`: openraft then waits before it tries
/// again, while it would retry a `NetworkError` at once and without end.
fn unreachable(error: impl ToString) -> RpcError {
    RPCError::Unreachable(Unreachable::from_string(error))
}

fn append_to_pb(request: AppendEntriesRequest<TypeConfig>) -> pb::AppendRequest {
    pb::AppendRequest {
        envelope: None,
        vote: Some(vote_to_pb(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_pb),
        entries: request.entries.iter().map(entry_to_pb).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_pb),
    }
}

fn append_from_pb(answer: pb::AppendResponse) -> AppendResult {
    use pb::append_response::Result as Kind;
    match answer.result.ok_or_else(|| unreachable("an empty answer"))? {
        Kind::Matching(matching) => Ok(Ok(matching.log_id.as_ref().map(log_id_from_pb))),
        Kind::Conflict(at) => Ok(Err(StreamAppendError::Conflict(log_id_from_pb(&at)))),
        Kind::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote_from_pb(&vote)))),
    }
}
