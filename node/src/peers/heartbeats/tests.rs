//! Heartbeats to a node whose replicas answer, refuse or say nothing.

use coupon_cluster::{Node, NodeIdentity, ShardMap};
use coupon_proto::internal::raft_service_server::{RaftService, RaftServiceServer};
use coupon_transport::{Answerer, AnswererLayer};
use futures::future::join_all;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Streaming};

use super::*;

const CLUSTER: &str = "e9b7a9d3-3a43-4c5c-8a44-9b5d6f9d6f11";
const STORE: &str = "0d9f3a1e-52a5-4a3c-a3d6-5a4b7c8d9e0f";

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// For answers that never come.
const SHORT: Duration = Duration::from_millis(100);

/// The shard whose replica refuses.
const REFUSING: u32 = 1_000;
/// The shard whose replica says nothing.
const SILENT: u32 = 1_001;

fn node() -> NodeId {
    NodeId::new(2).unwrap()
}

fn peers_with(nodes: impl IntoIterator<Item = (NodeId, Node)>) -> Peers {
    let nodes = nodes.into_iter().collect();
    let map = ShardMap { cluster_id: CLUSTER.to_owned(), nodes, ..ShardMap::default() };
    Peers::new(watch::channel(Arc::new(map)).1)
}

fn heartbeat_of(shard_id: u32) -> pb::AppendRequest {
    let envelope = Some(pb::Envelope { shard_id, ..Default::default() });
    pb::AppendRequest { envelope, ..Default::default() }
}

fn code_of(result: Result<pb::AppendResponse, Status>) -> Option<Code> {
    result.err().map(|status| status.code())
}

#[tokio::test]
async fn what_is_due_together_goes_in_one_call_and_everyone_gets_their_own_answer() {
    let (peers, follower) = Follower::start().await;
    for round in 1..=3 {
        let shards = 1..=200;
        let sent = shards.clone().map(|shard| {
            let peers = peers.clone();
            let heartbeat = heartbeat_of(shard);
            tokio::spawn(async move { peers.heartbeat(node(), heartbeat, PATIENCE).await })
        });
        let answers = join_all(sent).await;
        for (shard, answer) in shards.zip(answers) {
            assert_eq!(answer.unwrap().unwrap().acknowledged_index, u64::from(shard));
        }
        assert_eq!(*follower.calls.lock(), vec![200; round]);
    }
}

#[tokio::test]
async fn a_replica_that_says_nothing_or_refuses_holds_up_no_other() {
    let (peers, _follower) = Follower::start().await;
    let silent = tokio::spawn({
        let peers = peers.clone();
        async move { peers.heartbeat(node(), heartbeat_of(SILENT), PATIENCE).await }
    });
    let other = |shard| peers.heartbeat(node(), heartbeat_of(shard), PATIENCE);
    let (answered, refused) = tokio::join!(other(1), other(REFUSING));
    assert_eq!(answered.unwrap().acknowledged_index, 1);
    assert_eq!(code_of(refused), Some(Code::Unavailable));
    // Those that come later do not wait for it either.
    assert_eq!(other(2).await.unwrap().acknowledged_index, 2);
    assert!(!silent.is_finished());
    silent.abort();
    let late = peers.heartbeat(node(), heartbeat_of(SILENT), SHORT).await;
    assert_eq!(code_of(late), Some(Code::DeadlineExceeded));
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_fails_each_heartbeat_and_only_these() {
    let (peers, follower) = Follower::start().await;
    let unknown = NodeId::new(3).unwrap();
    for _ in 0..2 {
        let sent = peers.heartbeat(unknown, heartbeat_of(1), PATIENCE).await;
        assert_eq!(code_of(sent), Some(Code::Unavailable));
    }
    // Another data directory was meant: it is another node.
    let node_with = |store_id: &str| Node {
        address: follower.address.clone(),
        store_id: store_id.to_owned(),
        start_id: CLUSTER.to_owned(),
    };
    let replaced = peers_with([(node(), node_with(CLUSTER))]);
    let refused = replaced.heartbeat(node(), heartbeat_of(1), PATIENCE).await;
    assert!(refused.is_err());
    assert!(follower.calls.lock().is_empty());
    let sent = peers.heartbeat(node(), heartbeat_of(1), PATIENCE).await;
    assert_eq!(sent.unwrap().acknowledged_index, 1);
}

/// A node that answers heartbeats with the shard they are for.
#[derive(Clone)]
struct Follower {
    address: String,
    /// The number of heartbeats in each call.
    calls: Arc<Mutex<Vec<usize>>>,
}

impl Follower {
    async fn start() -> (Peers, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let identity = NodeIdentity {
            cluster_id: CLUSTER.to_owned(),
            node_id: node(),
            store_id: STORE.to_owned(),
        };
        let follower = Self { address: address.clone(), calls: Arc::default() };
        let server = Server::builder()
            .layer(AnswererLayer::new(Answerer::new(identity).unwrap()))
            .add_service(RaftServiceServer::new(follower.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
        let (store_id, start_id) = (STORE.to_owned(), STORE.to_owned());
        (peers_with([(node(), Node { address, store_id, start_id })]), follower)
    }
}

fn nothing<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not asked here"))
}

#[tonic::async_trait]
impl RaftService for Follower {
    type AppendStream = BoxStream<'static, Result<pb::AppendResponse, Status>>;
    type HeartbeatsStream = BoxStream<'static, Result<pb::HeartbeatsResponse, Status>>;

    async fn heartbeats(
        &self,
        request: Request<pb::HeartbeatsRequest>,
    ) -> Result<Response<Self::HeartbeatsStream>, Status> {
        let heartbeats = request.into_inner().heartbeats;
        self.calls.lock().push(heartbeats.len());
        let mut responses = Vec::new();
        // The last one first: the place says which one is answered.
        for (place, heartbeat) in (0..).zip(heartbeats).collect::<Vec<_>>().into_iter().rev() {
            let answer = match heartbeat.envelope.unwrap_or_default().shard_id {
                SILENT => continue,
                REFUSING => Answer::Refusal("not here".to_owned()),
                shard => Answer::Response(pb::AppendResponse {
                    acknowledged_index: shard.into(),
                    ..Default::default()
                }),
            };
            let answers = vec![pb::HeartbeatAnswer { place, answer: Some(answer) }];
            responses.push(Ok(pb::HeartbeatsResponse { answers }));
        }
        Ok(Response::new(stream::iter(responses).chain(stream::pending()).boxed()))
    }

    async fn append(
        &self,
        _: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        nothing()
    }

    async fn request_vote(
        &self,
        _: Request<pb::RequestVoteRequest>,
    ) -> Result<Response<pb::RequestVoteResponse>, Status> {
        nothing()
    }

    async fn install_snapshot(
        &self,
        _: Request<Streaming<pb::InstallSnapshotRequest>>,
    ) -> Result<Response<pb::InstallSnapshotResponse>, Status> {
        nothing()
    }

    async fn transfer_leader(
        &self,
        _: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        nothing()
    }

    async fn report_divergence(
        &self,
        _: Request<pb::ReportDivergenceRequest>,
    ) -> Result<Response<pb::ReportDivergenceResponse>, Status> {
        nothing()
    }
}
