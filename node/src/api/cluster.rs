//! What nodes, routers and administrators ask about the cluster.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{GenesisSpec, MetaCommand, Node, NodeId, ShardId, ShardMap};
use coupon_env::entropy;
use coupon_proto::internal as pb;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::cluster_service_server::ClusterService;
use coupon_wire::{Malformed, ids, map, meta, node, refusal};
use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::registration;
use super::status::{from_replica_error, malformed};
use crate::meta::{propose, read};
use crate::node::Node as ThisNode;
use crate::peers::Lane;
use crate::raft::pace;
use crate::raft::replica::RaftReplica;
use crate::shard::divergence::Diverged;
use crate::shard::leadership_transfer::transfer_leadership;
use crate::storage::{fatal, snapshot};

/// How long a node may take to say who it is while a cluster is formed.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the node that forms a cluster may take for it when it is asked by another one: to ask
/// several nodes who they are, some of which answer late.
const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// Marks a request to initialize a cluster that was forwarded, and is not forwarded again.
const FORWARDED: &str = "coupon-forwarded";

/// Maximum number of indexes whose digests a replica reports. Busy replicas are compared at the highest index
/// that they have in common.
const MARKS_SHOWN: usize = 64;
/// Reported length of each digest: enough to see a difference, and small enough for the status of a node with
/// a thousand replicas.
const MARK_DIGEST_BYTES: usize = 8;

/// Answers for a node.
pub struct ClusterEndpoint {
    node: Arc<ThisNode>,
}

impl ClusterEndpoint {
    /// Answers for `node`.
    pub fn new(node: Arc<ThisNode>) -> Self {
        Self { node }
    }

    /// Asks everybody who is to be in a new cluster who they are.
    async fn identify_all(
        &self,
        addresses: &[String],
    ) -> Result<Vec<pb::IdentifyResponse>, Status> {
        let mut all: Vec<pb::IdentifyResponse> = Vec::new();
        for address in addresses {
            let unreachable = |why: &dyn std::fmt::Display| {
                Status::unavailable(format!("the node at {address} does not answer: {why}"))
            };
            let channel = self
                .node
                .peers
                .channel_to(address.clone(), Lane::Control)
                .ok_or_else(|| Status::invalid_argument(format!("{address} is no address")))?;
            let mut client = ClusterServiceClient::new(channel);
            let asked = client.identify(pb::IdentifyRequest {});
            let answer = tokio::time::timeout(IDENTIFY_TIMEOUT, asked)
                .await
                .map_err(|error| unreachable(&error))?
                .map_err(|status| unreachable(&status.message()))?
                .into_inner();
            if let Some(twin) = all.iter().find(|other| other.node_id == answer.node_id) {
                let why = format!(
                    "{} and {address} both say they are node {}",
                    twin.address, twin.node_id
                );
                return Err(Status::failed_precondition(why));
            }
            all.push(answer);
        }
        Ok(all)
    }

    /// Hands a request to form a cluster to the node that does it.
    async fn forward(
        &self,
        request: pb::InitClusterRequest,
        former: &pb::IdentifyResponse,
    ) -> Result<pb::InitClusterResponse, Status> {
        let (id, address) = (former.node_id, &former.address);
        let channel = self.node.peers.channel_to(address.clone(), Lane::Control);
        let channel =
            channel.ok_or_else(|| Status::invalid_argument(format!("{address} is no address")))?;
        let mut request = Request::new(request);
        request.metadata_mut().insert(FORWARDED, MetadataValue::from_static("1"));
        let mut client = ClusterServiceClient::new(channel);
        let asked = client.init_cluster(request);
        let late = |_| Status::unavailable(format!("node {id} at {address} does not answer"));
        tokio::time::timeout(FORM_TIMEOUT, asked).await.map_err(late)?.map(Response::into_inner)
    }

    fn first_map(
        &self,
        request: &pb::InitClusterRequest,
        answers: &[pb::IdentifyResponse],
    ) -> Result<ShardMap, Status> {
        let mut nodes = answers
            .iter()
            .map(node::node_from_identify)
            .collect::<Result<Vec<(NodeId, Node)>, Malformed>>()
            .map_err(|error| malformed(&error))?;
        // This node forms the cluster, so it comes first.
        let me = self.node.config.node_id;
        let mine = nodes
            .iter()
            .position(|(id, _)| *id == me)
            .ok_or_else(|| Status::invalid_argument("this node is not among the addresses"))?;
        nodes.rotate_left(mine);
        ShardMap::genesis(GenesisSpec {
            cluster_id: entropy::uuid(),
            nodes,
            shard_count: request.shard_count,
            replication_factor: request.replication_factor,
            code_secret: entropy::secret(),
        })
        .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterEndpoint {
    async fn identify(
        &self,
        _request: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyResponse>, Status> {
        Ok(Response::new(self.node.identify()))
    }

    async fn init_cluster(
        &self,
        request: Request<pb::InitClusterRequest>,
    ) -> Result<Response<pb::InitClusterResponse>, Status> {
        let is_forwarded = request.metadata().contains_key(FORWARDED);
        let request = request.into_inner();
        // One at a time: two first maps must not be made.
        let _turn = self.node.forming.lock().await;
        let known = self.node.known.get();
        if known.is_initialized() {
            let map = Some(map::map_to_pb(&known));
            return Ok(Response::new(pb::InitClusterResponse { map, existed: true }));
        }
        let answers = self.identify_all(&request.addresses).await?;
        // Several nodes may be asked at once, and one cluster must come of it: one node forms it.
        let me = self.node.config.node_id.get();
        if !answers.iter().any(|answer| answer.node_id == me) {
            return Err(Status::invalid_argument("this node is not among the addresses"));
        }
        if let Some(former) = answers.iter().min_by_key(|answer| answer.node_id)
            && former.node_id != me
        {
            if is_forwarded {
                let why =
                    format!("node {} must initialize the cluster, not node {me}", former.node_id);
                return Err(Status::failed_precondition(why));
            }
            return self.forward(request, former).await.map(Response::new);
        }
        if let Some(taken) = answers.iter().find(|answer| !answer.cluster_id.is_empty()) {
            let why = format!(
                "node {} at {} belongs to cluster {} already",
                taken.node_id, taken.address, taken.cluster_id
            );
            return Err(Status::failed_precondition(why));
        }
        let map = Arc::new(self.first_map(&request, &answers)?);
        let adopted = self.node.adopt(&map).await;
        adopted.map_err(|error| Status::failed_precondition(error.to_string()))?;
        tracing::info!(cluster_id = map.cluster_id, "initialized a cluster");
        let map = Some(map::map_to_pb(&map));
        Ok(Response::new(pb::InitClusterResponse { map, existed: false }))
    }

    async fn register_node(
        &self,
        request: Request<pb::RegisterNodeRequest>,
    ) -> Result<Response<pb::RegisterNodeResponse>, Status> {
        let map = Some(registration::register(&self.node, request.into_inner()).await?);
        Ok(Response::new(pb::RegisterNodeResponse { map }))
    }

    async fn announce(
        &self,
        request: Request<pb::AnnounceRequest>,
    ) -> Result<Response<pb::AnnounceResponse>, Status> {
        registration::announce(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn remove_node(
        &self,
        request: Request<pb::RemoveNodeRequest>,
    ) -> Result<Response<pb::RemoveNodeResponse>, Status> {
        let pb::RemoveNodeRequest { node_id, only_unused } = request.into_inner();
        let id = ids::node_id(node_id).map_err(|error| malformed(&error))?;
        let command = MetaCommand::RemoveNode { id, only_unused };
        let map = propose::propose(self.node.registry.meta().as_ref(), &self.node.peers, &command)
            .await
            .map_err(|error| registration::refused(&error))?;
        Ok(Response::new(pb::RemoveNodeResponse { map: Some(map::map_to_pb(&map)) }))
    }

    type WatchShardMapStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchShardMapResponse, Status>> + Send>>;

    async fn watch_shard_map(
        &self,
        _request: Request<pb::WatchShardMapRequest>,
    ) -> Result<Response<Self::WatchShardMapStream>, Status> {
        let maps = WatchStream::new(self.node.known.subscribe())
            .filter(|map| std::future::ready(map.is_initialized()))
            .map(|map| Ok(pb::WatchShardMapResponse { map: Some(map::map_to_pb(&map)) }));
        let stopping = self.node.stopping().cancelled_owned();
        Ok(Response::new(Box::pin(maps.take_until(stopping))))
    }

    async fn read_shard_map(
        &self,
        _request: Request<pb::ReadShardMapRequest>,
    ) -> Result<Response<pb::ReadShardMapResponse>, Status> {
        let map = read::read_here(self.node.registry.meta().as_ref(), &self.node.known)
            .await
            .map_err(|error| from_replica_error(&error))?;
        Ok(Response::new(pb::ReadShardMapResponse { map: Some(map::map_to_pb(&map)) }))
    }

    async fn propose_meta(
        &self,
        request: Request<pb::ProposeMetaRequest>,
    ) -> Result<Response<pb::ProposeMetaResponse>, Status> {
        let command =
            request.into_inner().command.ok_or_else(|| malformed(&Malformed("command")))?;
        let command = meta::command_from_pb(command).map_err(|error| malformed(&error))?;
        let map = propose::propose_here(self.node.registry.meta().as_ref(), &command)
            .await
            .map_err(|error| registration::refused(&error))?;
        Ok(Response::new(pb::ProposeMetaResponse { map: Some(map::map_to_pb(&map)) }))
    }

    async fn get_node_status(
        &self,
        request: Request<pb::GetNodeStatusRequest>,
    ) -> Result<Response<pb::GetNodeStatusResponse>, Status> {
        let digests = request.into_inner().digests;
        let mut replicas = Vec::new();
        for replica in self.node.registry.all() {
            let mut status = replica_status(&replica.raft);
            if digests {
                let (storage, key) = (self.node.storage.clone(), replica.raft.key);
                let digest = tokio::task::spawn_blocking(move || snapshot::digest(&storage, key))
                    .await
                    .map_err(|error| Status::internal(error.to_string()))?
                    .unwrap_or_else(|fault| fatal::abort("reading state", &fault));
                status.digest = digest.hex;
                status.applied_index = digest.applied_index;
            }
            replicas.push(status);
        }
        replicas.extend(self.node.registry.watch_diverged().borrow().values().map(stopped_status));
        let verdict = self.node.clock.verdict();
        Ok(Response::new(pb::GetNodeStatusResponse {
            node: Some(self.node.identify()),
            replicas,
            clock_offset_micros: verdict.offset_micros,
            clock_trusted: self.node.clock.stamp_micros().is_some(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            waits_for: self.node.waits_for().unwrap_or_default(),
            election_slowdown: pace::current(),
        }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<pb::TransferLeadershipRequest>,
    ) -> Result<Response<pb::TransferLeadershipResponse>, Status> {
        let request = request.into_inner();
        let shard = ids::shard_id(request.shard_id).map_err(|error| malformed(&error))?;
        let replica = self.node.registry.get(shard).ok_or_else(|| refusal::not_leader(None))?;
        replica.raft.leadership().map_err(|error| from_replica_error(&error))?;
        let wanted = if request.to_node_id == 0 {
            None
        } else {
            let to = ids::node_id(request.to_node_id).map_err(|error| malformed(&error))?;
            let replica = self.node.known.get().replica_on(to, shard);
            Some(
                replica
                    .ok_or_else(|| Status::not_found("that node has no replica of the shard"))?,
            )
        };
        let distrusted = self.node.clock.verdict().distrusted_peers;
        if transfer_leadership(&replica, wanted, &distrusted).await {
            Ok(Response::new(pb::TransferLeadershipResponse {}))
        } else {
            Err(Status::failed_precondition("no such replica is ready to lead"))
        }
    }
}

fn replica_status(raft: &RaftReplica) -> pb::ReplicaStatus {
    let progress = raft.progress();
    // The meta shard keeps no digest.
    let has_digests = raft.key.shard != ShardId::META;
    let marks_shown = if has_digests { MARKS_SHOWN } else { 0 };
    let marks = raft.applied_digests.latest(marks_shown, MARK_DIGEST_BYTES);
    pb::ReplicaStatus {
        shard_id: raft.key.shard.get(),
        replica_id: raft.key.replica.0,
        state: progress.state.to_owned(),
        term: progress.term,
        leader_node_id: progress.leader.map_or(0, |node| node.get()),
        last_log_index: progress.last_log_index,
        applied_index: progress.applied_index,
        purged_index: progress.purged_index,
        digest: String::new(),
        fault: String::new(),
        marks,
        votes_asked: raft.vote_calls().0,
        streams_repeated: raft.streams_repeated(),
    }
}

/// The status of a replica that is stopped for good.
fn stopped_status(diverged: &Diverged) -> pb::ReplicaStatus {
    pb::ReplicaStatus {
        shard_id: diverged.key.shard.get(),
        replica_id: diverged.key.replica.0,
        state: "diverged".to_owned(),
        fault: diverged.reason(),
        ..Default::default()
    }
}
