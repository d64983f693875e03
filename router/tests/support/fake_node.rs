//! Nodes that speak the internal API over real sockets, share one ledger, and misbehave on command.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use coupon_cluster::NodeId;
use coupon_proto::internal::cluster_service_server::{ClusterService, ClusterServiceServer};
use coupon_proto::internal::shard_service_server::{ShardService, ShardServiceServer};
use coupon_proto::internal::{
    AnnounceRequest, AnnounceResponse, CodeKey, Command, CommandBatch, GetNodeStatusRequest,
    GetNodeStatusResponse, IdentifyRequest, IdentifyResponse, InitClusterRequest,
    InitClusterResponse, NodeHello, NodeInfo, NotProposed, NotProposedReason, ProposeMetaRequest,
    ProposeMetaResponse, ProposeRequest, ProposeResponse, ReadRequest, ReadResponse,
    RegisterNodeRequest, RegisterNodeResponse, RemoveNodeRequest, RemoveNodeResponse, ReplicaInfo,
    Reply, ReplyBatch, RouterHello, ShardInfo, ShardMap, StreamCouponsRequest,
    StreamCouponsResponse, TransferLeadershipRequest, TransferLeadershipResponse, Unknown,
    WatchShardMapRequest, WatchShardMapResponse, propose_request, propose_response, reply,
};
use coupon_transport::{Answerer, AnswererLayer, NodeIdentity};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::ledger::{Ledger, NOW_MICROS, refusal};

/// The default cluster of fake nodes.
pub const CLUSTER_ID: &str = "a2f1c7f2-2b0e-4c41-a6f5-6d1c7d9f1e10";

/// How large one message of an export without an end is.
const FLOOD_PART_BYTES: usize = 64 << 10;

/// What the leader does to the next batch instead of answering it.
#[derive(Debug, Clone, Copy)]
pub enum Trick {
    /// Applies it and breaks the stream.
    ApplyAndBreak,
    /// Applies it and says nothing.
    ApplySilently,
    /// Says that it does not know.
    Unknown,
    /// Says that its queue is full.
    Overloaded,
    /// Says that the deadline is over.
    Expired,
    /// Sends one reply too many.
    TooManyReplies,
}

/// A command that reached a node.
#[derive(Debug, Clone)]
pub struct Seen {
    pub node_id: u64,
    pub hello: RouterHello,
    pub command: Command,
    /// When its caller stops waiting.
    pub deadline_micros: u64,
}

struct State {
    leader: u64,
    paused: BTreeSet<u64>,
    tricks: VecDeque<Trick>,
    seen: Vec<Seen>,
    refused: usize,
    passed_on: usize,
    /// Whether exports never end.
    flooding: bool,
    flooded: usize,
    ledger: Ledger,
    /// Tells that something was seen or refused.
    progress: watch::Sender<()>,
}

type Shared = Arc<Mutex<State>>;

/// Some nodes and what they share.
pub struct FakeCluster {
    state: Shared,
    map: Arc<watch::Sender<ShardMap>>,
    answerers: Vec<Answerer>,
    /// Counts how many times a node moved to another cluster.
    turns: Arc<watch::Sender<u64>>,
    servers: Vec<AbortHandle>,
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.servers.iter().for_each(AbortHandle::abort);
    }
}

impl FakeCluster {
    /// Nodes 1 to `nodes` with a replica of each shard; node 1 leads them all.
    pub async fn start(nodes: u64, shards: &[u32]) -> Self {
        let addresses: Vec<_> = (0..nodes).map(|_| "127.0.0.1:0".to_owned()).collect();
        Self::at(CLUSTER_ID, &addresses, shards).await
    }

    /// Nodes of a cluster, one at each address.
    pub async fn at(cluster_id: &str, addresses: &[String], shards: &[u32]) -> Self {
        let nodes = addresses.len() as u64;
        let mut map = ShardMap {
            cluster_id: cluster_id.to_owned(),
            version: 1,
            epoch: 1,
            ring_shards: shards.to_vec(),
            code_keys: vec![CodeKey { key_id: 1, secret: vec![7; 32] }],
            ..Default::default()
        };
        map.shards = shards
            .iter()
            .map(|shard| {
                let replica = |node_id| ReplicaInfo { replica_id: node_id, node_id, role: 1 };
                ShardInfo { shard_id: *shard, replicas: (1..=nodes).map(replica).collect() }
            })
            .collect();
        let state = Arc::new(Mutex::new(State {
            leader: 1,
            paused: BTreeSet::new(),
            tricks: VecDeque::new(),
            seen: Vec::new(),
            refused: 0,
            passed_on: 0,
            flooding: false,
            flooded: 0,
            progress: watch::Sender::new(()),
            ledger: Ledger::at_epoch(1),
        }));
        let mut listeners = Vec::new();
        for (node_id, address) in (1..).zip(addresses) {
            let listener = TcpListener::bind(address).await.expect("loopback has ports");
            let address = listener.local_addr().expect("it is bound").to_string();
            let store_id = format!("{cluster_id}-store-{node_id}");
            map.nodes.push(NodeInfo { node_id, address, store_id, ..NodeInfo::default() });
            listeners.push((node_id, listener));
        }
        let map = Arc::new(watch::Sender::new(map));
        let turns = Arc::new(watch::Sender::new(0));
        let mut answerers = Vec::new();
        let servers = listeners.into_iter().map(|(node_id, listener)| {
            let identity = NodeIdentity {
                cluster_id: cluster_id.to_owned(),
                node_id: NodeId::new(node_id).expect("node ids begin with 1"),
                store_id: format!("{cluster_id}-store-{node_id}"),
            };
            let answerer = Answerer::new(identity).expect("headers carry these ids");
            let layer = AnswererLayer::new(answerer.clone());
            answerers.push(answerer.clone());
            let (state, map, turns) = (Arc::clone(&state), Arc::clone(&map), Arc::clone(&turns));
            let node = FakeNode { node_id, answerer, state, map, turns };
            let server = Server::builder()
                .layer(layer)
                .add_service(ShardServiceServer::new(node.clone()))
                .add_service(ClusterServiceServer::new(node))
                .serve_with_incoming(TcpIncoming::from(listener));
            tokio::spawn(server).abort_handle()
        });
        let servers = servers.collect();
        Self { servers, state, map, answerers, turns }
    }

    /// Moves a node to another cluster, as if a node of that one had taken its port: open streams end, and
    /// new calls are refused.
    pub fn turn(&self, node_id: u64, cluster_id: &str) {
        let index = usize::try_from(node_id - 1).expect("there are few nodes");
        self.answerers[index].join(cluster_id).expect("headers carry it");
        self.turns.send_modify(|turns| *turns += 1);
    }

    pub fn address(&self, node_id: u64) -> String {
        let map = self.map.borrow();
        let node = map.nodes.iter().find(|node| node.node_id == node_id);
        node.expect("the node exists").address.clone()
    }

    /// Makes another node lead; 0 none.
    pub fn lead(&self, node_id: u64) {
        self.state.lock().leader = node_id;
    }

    /// Lets a node answer nothing any more, on connections that stay open.
    pub fn pause(&self, node_id: u64) {
        self.state.lock().paused.insert(node_id);
    }

    /// Lets a node that was paused answer what comes from now on.
    pub fn resume(&self, node_id: u64) {
        self.state.lock().paused.remove(&node_id);
    }

    pub fn play(&self, tricks: impl IntoIterator<Item = Trick>) {
        self.state.lock().tricks.extend(tricks);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// The command that reached a node last.
    pub fn last_seen(&self) -> Seen {
        self.state.lock().seen.last().expect("a command was sent").clone()
    }

    /// How many reads went to the leader through another node.
    pub fn passed_on(&self) -> usize {
        self.state.lock().passed_on
    }

    /// Lets every export repeat the first coupon, with much metadata, for ever.
    pub fn flood(&self) {
        self.state.lock().flooding = true;
    }

    /// How many messages of such exports were sent or wait to be.
    pub fn flooded(&self) -> usize {
        self.state.lock().flooded
    }

    /// Waits until so many commands have reached nodes.
    pub async fn until_seen(&self, count: usize) {
        self.until(|state| state.seen.len() >= count).await;
    }

    /// Waits until nodes have refused, since they do not lead, so many times more.
    pub async fn until_refused(&self, count: usize) {
        let before = self.state.lock().refused;
        self.until(|state| state.refused >= before + count).await;
    }

    async fn until(&self, enough: impl Fn(&State) -> bool) {
        let mut progress = self.state.lock().progress.subscribe();
        while !enough(&self.state.lock()) {
            progress.changed().await.expect("the state lives as long as the cluster");
        }
    }

    /// Lets the shards go to an epoch of which no map tells yet.
    pub fn fence(&self, epoch: u64) {
        self.state.lock().ledger.epoch = epoch;
    }

    /// Changes the map and shows the change to all watchers.
    pub fn change_map(&self, change: impl FnOnce(&mut ShardMap)) {
        self.map.send_modify(|map| {
            map.version += 1;
            change(map);
        });
    }

    /// How many coupons of a campaign exist.
    pub fn issued(&self, campaign_id: &str) -> usize {
        self.state
            .lock()
            .ledger
            .export(&format!("default/{campaign_id}"))
            .map_or(0, |(_, coupons)| coupons.len())
    }
}

#[derive(Clone)]
struct FakeNode {
    node_id: u64,
    answerer: Answerer,
    state: Shared,
    map: Arc<watch::Sender<ShardMap>>,
    turns: Arc<watch::Sender<u64>>,
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
        let metadata = [("leader_node_id".to_owned(), leader.to_string())];
        let details = ErrorDetails::with_error_info("NOT_LEADER", "coupon.internal.v1", metadata);
        Err(Status::with_error_details(Code::Unavailable, "not the leader", details))
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
            Some(Trick::TooManyReplies) => {
                let mut replies = apply();
                replies.push(Reply::default());
                Ok(Some(replies))
            }
        }
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
    type StreamCouponsStream = BoxStream<'static, Result<StreamCouponsResponse, Status>>;

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
        self.lead_or_refuse(request.get_ref().forward).await?;
        self.state.lock().passed_on += usize::from(request.get_ref().forward);
        Ok(Response::new(self.state.lock().ledger.read(request.get_ref())))
    }

    async fn stream_coupons(
        &self,
        request: Request<StreamCouponsRequest>,
    ) -> Result<Response<Self::StreamCouponsStream>, Status> {
        self.lead_or_refuse(request.get_ref().forward).await?;
        let exported = self.state.lock().ledger.export(&request.get_ref().campaign);
        let Some((mut campaign, coupons)) = exported else {
            let reason = coupon_proto::internal::RefusalReason::CampaignNotFound;
            let refused =
                StreamCouponsResponse { refusal: Some(refusal(reason)), ..Default::default() };
            return Ok(Response::new(stream::iter([Ok(refused)]).boxed()));
        };
        let flooding = self.state.lock().flooding;
        if let (true, Some(counters)) = (flooding, campaign.counters.as_mut()) {
            counters.issued = u64::MAX;
        }
        let header = StreamCouponsResponse {
            campaign: Some(campaign),
            log_time_micros: NOW_MICROS,
            ..Default::default()
        };
        if flooding {
            let mut coupon = coupons[0].clone();
            let record = coupon.coupon.as_mut().expect("coupons are kept");
            record.metadata.insert("much".to_owned(), "x".repeat(FLOOD_PART_BYTES));
            let state = Arc::clone(&self.state);
            let parts = stream::repeat_with(move || {
                state.lock().flooded += 1;
                StreamCouponsResponse { coupons: vec![coupon.clone()], ..Default::default() }
            });
            return Ok(Response::new(stream::once(async { header }).chain(parts).map(Ok).boxed()));
        }
        let parts: Vec<_> = coupons.chunks(2).map(<[_]>::to_vec).collect();
        let parts = parts
            .into_iter()
            .map(|coupons| StreamCouponsResponse { coupons, ..Default::default() });
        Ok(Response::new(stream::iter(std::iter::once(header).chain(parts).map(Ok)).boxed()))
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
