//! A node that speaks the internal API.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{NodeId, NodeIdentity};
use coupon_proto::internal::cluster_service_server::ClusterService;
use coupon_proto::internal::shard_service_server::ShardService;
use coupon_proto::internal::{
    AnnounceRequest, AnnounceResponse, Command, CommandBatch, GetLeaderRequest, GetLeaderResponse,
    GetNodeStatusRequest, GetNodeStatusResponse, IdentifyRequest, IdentifyResponse,
    InitClusterRequest, InitClusterResponse, NodeHello, NotProposed, NotProposedReason,
    ProposeMetaRequest, ProposeMetaResponse, ProposeRequest, ProposeResponse, ReadRequest,
    ReadResponse, ReadShardMapRequest, ReadShardMapResponse, RegisterNodeRequest,
    RegisterNodeResponse, RemoveNodeRequest, RemoveNodeResponse, Reply, ReplyBatch, RevisionWait,
    RouterHello, ShardMap, TransferLeadershipRequest, TransferLeadershipResponse, Unknown,
    WatchShardMapRequest, WatchShardMapResponse, propose_request, propose_response, read_request,
    reply,
};
use coupon_transport::Answerer;
use coupon_wire::refusal;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::{Request, Response, Status, Streaming};

use super::state::{Seen, Shared, Trick};

/// One node.
#[derive(Clone)]
pub struct FakeNode {
    pub node_id: u64,
    pub answerer: Answerer,
    pub state: Shared,
    pub map: Arc<watch::Sender<ShardMap>>,
    /// Counts how many times a node moved to another cluster.
    pub turns: Arc<watch::Sender<u64>>,
}

impl FakeNode {
    /// Ends when the node goes to another cluster.
    async fn turned(self) {
        let mut turns = self.turns.subscribe();
        let mine = self.answerer.identity();
        while self.answerer.identity() == mine && turns.changed().await.is_ok() {}
    }

    /// Waits for ever while paused, and refuses where another node leads that it shall not pass the
    /// call on to.
    async fn lead_or_refuse(&self, forward: bool) -> Result<(), Status> {
        let (paused, leader) = {
            let mut state = self.state.lock();
            state.refused += usize::from(state.leader != self.node_id && !forward);
            state.progress.send_replace(());
            (state.paused.contains(&self.node_id), state.leader)
        };
        if paused {
            std::future::pending::<()>().await;
        }
        if leader == self.node_id || forward {
            return Ok(());
        }
        Err(refusal::not_leader(NodeId::new(leader).ok()))
    }

    /// Waits for a campaign to change, as long as this node leads.
    async fn wait(&self, wait: &RevisionWait) {
        let end = Instant::now() + Duration::from_micros(wait.micros_max);
        let is_over = || {
            let state = self.state.lock();
            state.ledger.revision_of(&wait.campaign) != Some(wait.revision)
                || state.leader != self.node_id
        };
        while !is_over() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn serve_stream(
        &self,
        mut requests: Streaming<ProposeRequest>,
        replies: &mpsc::Sender<Result<ProposeResponse, Status>>,
    ) -> Result<(), Status> {
        let first = requests.message().await?.and_then(|request| request.message);
        let Some(propose_request::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("hello comes first"));
        };
        self.lead_or_refuse(hello.forward).await?;
        send(replies, propose_response::Message::Hello(NodeHello { term: 1 })).await?;
        while let Some(request) = requests.message().await? {
            let Some(propose_request::Message::Batch(batch)) = request.message else {
                return Err(Status::invalid_argument("batches come second"));
            };
            if self.state.lock().paused.contains(&self.node_id) {
                std::future::pending::<()>().await;
            }
            let batch_id = batch.batch_id;
            let slow_by = self.state.lock().slow_by;
            tokio::time::sleep(slow_by).await;
            let Some(answers) = self.answer(&hello, &batch)? else { continue };
            let batch = ReplyBatch { batch_id, replies: answers };
            send(replies, propose_response::Message::Batch(batch)).await?;
        }
        Ok(())
    }

    fn answer(
        &self,
        hello: &RouterHello,
        batch: &CommandBatch,
    ) -> Result<Option<Vec<Reply>>, Status> {
        let mut state = self.state.lock();
        let node_id = self.node_id;
        let commands = batch.commands.iter().map(|command| Command::decode(&**command));
        let commands: Vec<Command> = commands.collect::<Result<_, _>>().expect("it can be read");
        let deadlines = batch.deadline_micros.iter();
        state.seen.extend(commands.iter().zip(deadlines).map(|(command, deadline)| Seen {
            node_id,
            hello: *hello,
            command: command.clone(),
            deadline_micros: *deadline,
        }));
        state.progress.send_replace(());
        let not_proposed = |reason: NotProposedReason, leader_node_id| {
            let refusal = NotProposed { reason: reason.into(), leader_node_id };
            Reply { reply: Some(reply::Reply::NotProposed(refusal)) }
        };
        let leader = state.leader;
        if leader != node_id && !hello.forward {
            let refuse = |_| not_proposed(NotProposedReason::NotLeader, leader);
            return Ok(Some(batch.commands.iter().map(refuse).collect()));
        }
        let trick = state.tricks.pop_front();
        let mut apply = || -> Vec<Reply> {
            let apply = |command| state.ledger.apply(hello.shard_id, command);
            let outcomes = commands.iter().map(apply);
            outcomes.map(|o| Reply { reply: Some(reply::Reply::Outcome(o)) }).collect()
        };
        let all = |reply: Reply| Ok(Some(vec![reply; batch.commands.len()]));
        match trick {
            None => Ok(Some(apply())),
            Some(Trick::ApplyAndBreak) => {
                apply();
                Err(Status::aborted("the term ended"))
            }
            Some(Trick::ApplySilently) => {
                apply();
                Ok(None)
            }
            Some(Trick::Unknown) => all(Reply { reply: Some(reply::Reply::Unknown(Unknown {})) }),
            Some(Trick::Overloaded) => all(not_proposed(NotProposedReason::Overloaded, 0)),
            Some(Trick::Expired) => all(not_proposed(NotProposedReason::Expired, 0)),
            Some(Trick::NeedsLog) => all(not_proposed(NotProposedReason::NeedsLog, 0)),
            Some(Trick::OldCodeKey) => all(not_proposed(NotProposedReason::OldCodeKey, 0)),
            Some(Trick::TooManyReplies) => {
                let mut replies = apply();
                replies.push(Reply::default());
                Ok(Some(replies))
            }
        }
    }
}

/// A read that is not answered, until it is given up.
struct Hanging(Shared);

impl Hanging {
    fn begin(state: Shared) -> Self {
        {
            let mut state = state.lock();
            state.hanging += 1;
            state.progress.send_replace(());
        }
        Self(state)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.lock().hanging -= 1;
    }
}

async fn send(
    replies: &mpsc::Sender<Result<ProposeResponse, Status>>,
    message: propose_response::Message,
) -> Result<(), Status> {
    let sent = replies.send(Ok(ProposeResponse { message: Some(message) })).await;
    sent.map_err(|_| Status::cancelled("the router is gone"))
}

#[tonic::async_trait]
impl ShardService for FakeNode {
    type ProposeStream = ReceiverStream<Result<ProposeResponse, Status>>;

    async fn propose(
        &self,
        request: Request<Streaming<ProposeRequest>>,
    ) -> Result<Response<Self::ProposeStream>, Status> {
        let (replies, stream) = mpsc::channel(64);
        let node = self.clone();
        tokio::spawn(async move {
            let served = node.serve_stream(request.into_inner(), &replies);
            let status = tokio::select! {
                served = served => served.err(),
                () = node.clone().turned() => Some(Status::unavailable("the node is gone")),
            };
            if let Some(status) = status {
                let _ = replies.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        let request = request.into_inner();
        self.lead_or_refuse(request.forward).await?;
        if let Some(wait) = &request.wait {
            self.wait(wait).await;
            self.lead_or_refuse(request.forward).await?;
        }
        if self.state.lock().hung.contains(&request.shard_id) {
            let _hanging = Hanging::begin(Arc::clone(&self.state));
            return std::future::pending().await;
        }
        let mut state = self.state.lock();
        if state.lost.contains(&request.shard_id) {
            return Err(refusal::not_leader(None));
        }
        let is_part = matches!(
            &request.query,
            Some(read_request::Query::ListCoupons(list)) if list.as_of.is_some()
        );
        state.reads += 1;
        state.parts += usize::from(is_part);
        state.passed_on += usize::from(request.forward);
        Ok(Response::new(state.ledger.read(&request)))
    }

    async fn get_leader(
        &self,
        _: Request<GetLeaderRequest>,
    ) -> Result<Response<GetLeaderResponse>, Status> {
        let answer = {
            let state = self.state.lock();
            let leads = state.leader == self.node_id;
            let answers = state.assures && !state.paused.contains(&self.node_id);
            let answer = GetLeaderResponse { term: 1, leader_node_id: state.leader, leads };
            answers.then_some(answer)
        };
        match answer {
            Some(answer) => Ok(Response::new(answer)),
            None => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl ClusterService for FakeNode {
    type WatchShardMapStream = BoxStream<'static, Result<WatchShardMapResponse, Status>>;

    async fn watch_shard_map(
        &self,
        _: Request<WatchShardMapRequest>,
    ) -> Result<Response<Self::WatchShardMapStream>, Status> {
        let maps = WatchStream::new(self.map.subscribe());
        let maps = maps.map(|map| Ok(WatchShardMapResponse { map: Some(map) }));
        Ok(Response::new(maps.take_until(self.clone().turned()).boxed()))
    }

    async fn read_shard_map(
        &self,
        _: Request<ReadShardMapRequest>,
    ) -> Result<Response<ReadShardMapResponse>, Status> {
        self.lead_or_refuse(false).await?;
        let mut state = self.state.lock();
        state.maps_read += 1;
        let map = state.unseen_map.clone().unwrap_or_else(|| self.map.borrow().clone());
        Ok(Response::new(ReadShardMapResponse { map: Some(map) }))
    }

    async fn identify(
        &self,
        _: Request<IdentifyRequest>,
    ) -> Result<Response<IdentifyResponse>, Status> {
        let NodeIdentity { cluster_id, node_id, store_id } = self.answerer.identity();
        let node_id = node_id.get();
        Ok(Response::new(IdentifyResponse { node_id, store_id, cluster_id, ..Default::default() }))
    }

    async fn init_cluster(
        &self,
        _: Request<InitClusterRequest>,
    ) -> Result<Response<InitClusterResponse>, Status> {
        Err(Status::unimplemented("no router asks"))
    }

    async fn register_node(
        &self,
        _: Request<RegisterNodeRequest>,
    ) -> Result<Response<RegisterNodeResponse>, Status> {
        Err(Status::unimplemented("no router asks"))
    }

    async fn announce(
        &self,
        _: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        Err(Status::unimplemented("no router asks"))
    }

    async fn remove_node(
        &self,
        _: Request<RemoveNodeRequest>,
    ) -> Result<Response<RemoveNodeResponse>, Status> {
        Err(Status::unimplemented("no router asks"))
    }

    async fn propose_meta(
        &self,
        _: Request<ProposeMetaRequest>,
    ) -> Result<Response<ProposeMetaResponse>, Status> {
        Err(Status::unimplemented("no router asks"))
    }

    async fn get_node_status(
        &self,
        _: Request<GetNodeStatusRequest>,
    ) -> Result<Response<GetNodeStatusResponse>, Status> {
        Err(Status::unimplemented("no router asks"))
    }

    async fn transfer_leadership(
        &self,
        _: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        Err(Status::unimplemented("no router asks"))
    }
}
