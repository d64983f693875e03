//! A follower that takes entries and never answers does not keep the leader's log from being purged.

use std::sync::Arc;

use coupon_cluster::{NodeId, NodeIdentity};
use coupon_env::{Clock as _, SystemClock, entropy};
use coupon_node::RaftOptions;
use coupon_proto::internal as pb;
use coupon_transport::{Answerer, AnswererLayer};
use futures::stream::{self, BoxStream, StreamExt as _};
use pb::cluster_service_client::ClusterServiceClient;
use pb::cluster_service_server::{ClusterService, ClusterServiceServer};
use pb::raft_service_server::{RaftService, RaftServiceServer};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::support::{Caller, TestCluster, create, issue, sequence, until};

#[tokio::test]
async fn a_follower_that_never_answers_does_not_hold_a_purge_up() {
    let options =
        RaftOptions { log_entries_kept: 50, log_bytes_kept: 4_096, ..RaftOptions::default() };
    let mut cluster = TestCluster::empty(options);
    for id in [1, 2] {
        let data = cluster.dir.path().join(id.to_string());
        cluster.boot(id, &data, "127.0.0.1:0").await;
    }
    let silent = Silent::start().await;
    let mut addresses: Vec<String> =
        cluster.nodes.values().map(|node| node.address.clone()).collect();
    addresses.push(silent.address.clone());
    let request = pb::InitClusterRequest { addresses, shard_count: 1, replication_factor: 3 };
    let first = format!("http://{}", cluster.nodes[&1].address);
    let mut client = ClusterServiceClient::connect(first).await.unwrap();
    let map = client.init_cluster(request).await.unwrap().into_inner().map.unwrap();
    silent.answerer.join(&map.cluster_id).unwrap();

    let mut caller = Caller::default();
    caller.call(&cluster, create("c", 1_000_000, 0, 0)).await;
    for number in 1..=600 {
        let reply = caller.call(&cluster, issue("c", &format!("r{number}"), number)).await;
        assert_eq!(sequence(&reply), Some(number));
    }
    until("a purged log", async || {
        let status = cluster.replica_status(cluster.leader().await, false).await?;
        (status.purged_index >= 500).then_some(())
    })
    .await;
}

/// A node that says who it is, and takes entries without an answer.
#[derive(Clone)]
struct Silent {
    address: String,
    answerer: Answerer,
    start_id: Arc<str>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identity = NodeIdentity {
            cluster_id: String::new(),
            node_id: NodeId::new(3).unwrap(),
            store_id: entropy::uuid(),
        };
        let silent = Self {
            address: listener.local_addr().unwrap().to_string(),
            answerer: Answerer::new(identity).unwrap(),
            start_id: entropy::uuid().into(),
        };
        let server = Server::builder()
            .layer(AnswererLayer::new(silent.answerer.clone()))
            .add_service(ClusterServiceServer::new(silent.clone()))
            .add_service(RaftServiceServer::new(silent.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
        silent
    }
}

fn nothing<T>() -> Result<Response<T>, Status> {
    Err(Status::unavailable("it says nothing"))
}

#[tonic::async_trait]
impl RaftService for Silent {
    type AppendStream = BoxStream<'static, Result<pb::AppendResponse, Status>>;
    type HeartbeatsStream = BoxStream<'static, Result<pb::HeartbeatsResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        // It reads on, so that nothing waits for room.
        let unread = request.into_inner().filter_map(async |_| None);
        Ok(Response::new(unread.chain(stream::pending()).boxed()))
    }

    async fn heartbeats(
        &self,
        _: Request<pb::HeartbeatsRequest>,
    ) -> Result<Response<Self::HeartbeatsStream>, Status> {
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

#[tonic::async_trait]
impl ClusterService for Silent {
    type WatchShardMapStream = BoxStream<'static, Result<pb::WatchShardMapResponse, Status>>;

    async fn identify(
        &self,
        _: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyResponse>, Status> {
        let NodeIdentity { cluster_id, node_id, store_id } = self.answerer.identity();
        Ok(Response::new(pb::IdentifyResponse {
            node_id: node_id.get(),
            address: self.address.clone(),
            store_id,
            cluster_id,
            clock_micros: SystemClock.now_micros(),
            start_id: self.start_id.to_string(),
        }))
    }

    async fn init_cluster(
        &self,
        _: Request<pb::InitClusterRequest>,
    ) -> Result<Response<pb::InitClusterResponse>, Status> {
        nothing()
    }

    async fn register_node(
        &self,
        _: Request<pb::RegisterNodeRequest>,
    ) -> Result<Response<pb::RegisterNodeResponse>, Status> {
        nothing()
    }

    async fn announce(
        &self,
        _: Request<pb::AnnounceRequest>,
    ) -> Result<Response<pb::AnnounceResponse>, Status> {
        nothing()
    }

    async fn remove_node(
        &self,
        _: Request<pb::RemoveNodeRequest>,
    ) -> Result<Response<pb::RemoveNodeResponse>, Status> {
        nothing()
    }

    async fn watch_shard_map(
        &self,
        _: Request<pb::WatchShardMapRequest>,
    ) -> Result<Response<Self::WatchShardMapStream>, Status> {
        nothing()
    }

    async fn read_shard_map(
        &self,
        _: Request<pb::ReadShardMapRequest>,
    ) -> Result<Response<pb::ReadShardMapResponse>, Status> {
        nothing()
    }

    async fn propose_meta(
        &self,
        _: Request<pb::ProposeMetaRequest>,
    ) -> Result<Response<pb::ProposeMetaResponse>, Status> {
        nothing()
    }

    async fn get_node_status(
        &self,
        _: Request<pb::GetNodeStatusRequest>,
    ) -> Result<Response<pb::GetNodeStatusResponse>, Status> {
        nothing()
    }

    async fn transfer_leadership(
        &self,
        _: Request<pb::TransferLeadershipRequest>,
    ) -> Result<Response<pb::TransferLeadershipResponse>, Status> {
        nothing()
    }
}
