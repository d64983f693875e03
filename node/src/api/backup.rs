//! Calls for administrators that export the state of a cluster, and form a new cluster from exported states.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{Node, NodeId, ReplicaRole, ShardId, ShardMap, StateDigest};
use coupon_proto::internal as pb;
use coupon_proto::internal::backup_service_client::BackupServiceClient;
use coupon_proto::internal::backup_service_server::BackupService;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_transport::{Addressed, Addressee};
use coupon_wire::refusal::not_leader;
use coupon_wire::{Malformed, ids, map};
use futures::{Stream, StreamExt as _};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Request, Response, Status, Streaming};

use super::status::{from_replica_error, malformed};
use crate::node::Node as ThisNode;
use crate::peers::Lane;
use crate::storage::restore::{StageError, Staging};
use crate::storage::snapshot;
use crate::stream_writer;

/// Maximum number of exports, and of incoming states, at a time. Each uses all the disk bandwidth it gets,
/// which issuing coupons needs as well.
const TRANSFERS_MAX: usize = 4;
/// Timeout for a ReadIndex round.
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for another node to identify itself and list its staged states.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers for a node.
pub struct BackupEndpoint {
    node: Arc<ThisNode>,
    exports: Arc<Semaphore>,
    stagings: Semaphore,
}

impl BackupEndpoint {
    /// Answers for `node`.
    pub fn new(node: Arc<ThisNode>) -> Self {
        let exports = Arc::new(Semaphore::new(TRANSFERS_MAX));
        Self { node, exports, stagings: Semaphore::new(TRANSFERS_MAX) }
    }

    fn staging(&self) -> Staging {
        Staging::new(&self.node.config.data_dir)
    }

    /// Refuses calls that only nodes outside of any cluster may serve.
    fn check_unformed(&self) -> Result<(), Status> {
        let me = self.node.identify();
        if me.cluster_id.is_empty() {
            return Ok(());
        }
        let why = format!("node {} belongs to cluster {} already", me.node_id, me.cluster_id);
        Err(Status::failed_precondition(why))
    }

    fn begin_staging(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.check_unformed()?;
        let busy = |_| {
            Status::resource_exhausted(
                "too many states are being sent to this node: try again later",
            )
        };
        self.stagings.try_acquire().map_err(busy)
    }

    /// Checks that a node is the one in the new cluster's map, is in no cluster, and has the states that its
    /// shards begin with.
    async fn check_ready(&self, map: &ShardMap, id: NodeId, node: &Node) -> Result<(), Status> {
        let address = &node.address;
        let silent = |why: &dyn std::fmt::Display| {
            Status::unavailable(format!("node {id} at {address} does not answer: {why}"))
        };
        let channel = self.node.peers.channel_to(address.clone(), Lane::Control);
        let channel = channel
            .ok_or_else(|| Status::invalid_argument(format!("{address} is not an address")))?;
        let to = Addressee::before_joining(id, &node.store_id);
        let to = to.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let asked = async {
            let mut cluster = ClusterServiceClient::new(channel.clone());
            let who = cluster.identify(pb::IdentifyRequest {}).await?.into_inner();
            let mut backup = BackupServiceClient::new(Addressed::new(channel, to));
            let staged = backup.list_staged_states(pb::ListStagedStatesRequest {}).await?;
            Ok::<_, Status>((who, staged.into_inner().states))
        };
        let answer = tokio::time::timeout(ASK_TIMEOUT, asked).await;
        let (who, staged) =
            answer.map_err(|late| silent(&late))?.map_err(|status| silent(&status.message()))?;
        if (who.node_id, &who.store_id) != (id.get(), &node.store_id) {
            let why = format!("another node answers at {address} than a moment ago");
            return Err(Status::failed_precondition(why));
        }
        if !who.cluster_id.is_empty() {
            let why =
                format!("node {id} at {address} belongs to cluster {} already", who.cluster_id);
            return Err(Status::failed_precondition(why));
        }
        let staged = staged.iter().map(map::restored_from_pb);
        let staged = staged.collect::<Result<BTreeMap<ShardId, StateDigest>, _>>();
        let staged = staged.map_err(|error| malformed(&error))?;
        let hosted = |shard: &ShardId| map.replica_on(id, *shard).is_some();
        let mut needed = map.restored.iter().filter(|(shard, _)| hosted(shard));
        match needed.find(|(shard, state)| staged.get(shard) != Some(state)) {
            Some((shard, _)) => {
                let why =
                    format!("node {id} at {address} does not have the state of shard {shard}");
                Err(Status::failed_precondition(why))
            }
            None => Ok(()),
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl BackupService for BackupEndpoint {
    type ExportStateStream = Answers<pb::ExportStateResponse>;

    async fn export_state(
        &self,
        request: Request<pb::ExportStateRequest>,
    ) -> Result<Response<Self::ExportStateStream>, Status> {
        let shard = ids::shard_id(request.into_inner().shard_id);
        let shard = shard.map_err(|error| malformed(&error))?;
        if shard == ShardId::META {
            return Err(Status::invalid_argument(
                "the meta shard has no state to export: its state is the shard map",
            ));
        }
        let replica = self.node.registry.get(shard).ok_or_else(|| not_leader(None))?;
        if self.node.storage.flusher().is_stuck() {
            return Err(not_leader(None));
        }
        // Everything acknowledged before this call is applied here afterwards.
        let confirmed = replica.raft.read_index(READ_INDEX_TIMEOUT).await;
        confirmed.map_err(|error| from_replica_error(&error))?;
        let place = self.exports.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted("too many exports under way: try again later")
        })?;
        let (storage, key) = (self.node.storage.clone(), replica.raft.key);
        let parts = stream_writer::stream_written_by(move |out| {
            let _place = place;
            snapshot::write(&storage, key, out)
        });
        let stopping = self.node.stopping().cancelled_owned();
        let answers = parts.map(|data| Ok(pb::ExportStateResponse { data }));
        Ok(Response::new(Box::pin(answers.take_until(stopping))))
    }

    async fn stage_state(
        &self,
        request: Request<Streaming<pb::StageStateRequest>>,
    ) -> Result<Response<pb::StageStateResponse>, Status> {
        let _place = self.begin_staging()?;
        let mut messages = request.into_inner();
        let first = next_part(&mut messages).await?;
        let state = first.as_ref().and_then(|first| first.state.as_ref());
        let state = state.ok_or_else(|| malformed(&Malformed("state")))?;
        let (shard, state) = map::restored_from_pb(state).map_err(|error| malformed(&error))?;
        let staging = self.staging();
        let path = staging.incoming_path().map_err(failed)?;
        let left_over = TempPath::try_from_path(&path).map_err(failed)?;
        let mut file = tokio::fs::File::create(&path).await.map_err(failed)?;
        let mut part = first;
        while let Some(message) = part {
            file.write_all(&message.data).await.map_err(failed)?;
            part = next_part(&mut messages).await?;
        }
        file.sync_all().await.map_err(failed)?;
        // This node may have joined a cluster meanwhile.
        let _turn = self.node.forming.lock().await;
        self.check_unformed()?;
        let kept = tokio::task::spawn_blocking(move || staging.keep(&left_over, shard, &state));
        match kept.await.map_err(failed)? {
            Ok(()) => Ok(Response::new(pb::StageStateResponse {})),
            Err(StageError::Storage(fault)) => Err(failed(fault)),
            Err(refused @ (StageError::OtherState(_) | StageError::Exhausted(_))) => {
                Err(Status::failed_precondition(refused.to_string()))
            }
        }
    }

    async fn list_staged_states(
        &self,
        _request: Request<pb::ListStagedStatesRequest>,
    ) -> Result<Response<pb::ListStagedStatesResponse>, Status> {
        let states = self.staging().list().map_err(failed)?;
        let states = states.iter().map(|(shard, state)| map::restored_to_pb(*shard, state));
        Ok(Response::new(pb::ListStagedStatesResponse { states: states.collect() }))
    }

    async fn restore_cluster(
        &self,
        request: Request<pb::RestoreClusterRequest>,
    ) -> Result<Response<pb::RestoreClusterResponse>, Status> {
        let map = request.into_inner().map.ok_or_else(|| malformed(&Malformed("shard map")))?;
        let map = map::map_from_pb(map).map_err(|error| malformed(&error))?;
        map.check().map_err(|fault| Status::invalid_argument(fault.to_string()))?;
        let me = self.node.config.node_id;
        let first = map.shards.get(&ShardId::META).and_then(BTreeMap::first_key_value);
        let is_mine =
            first.is_some_and(|(_, one)| one.node == me && one.role == ReplicaRole::Initial);
        if map.version != 1 || !map.is_restored() || !is_mine {
            return Err(Status::invalid_argument("not the first map of a restored cluster here"));
        }
        // One at a time, so that no two first maps are made.
        let _turn = self.node.forming.lock().await;
        let known = self.node.known.get();
        if known.is_initialized() && known.cluster_id == map.cluster_id {
            return Ok(Response::new(pb::RestoreClusterResponse { existed: true }));
        }
        self.check_unformed()?;
        for (id, node) in &map.nodes {
            self.check_ready(&map, *id, node).await?;
        }
        let map = Arc::new(map);
        let adopted = self.node.adopt(&map).await;
        adopted.map_err(|error| Status::failed_precondition(error.to_string()))?;
        tracing::info!(cluster_id = map.cluster_id, epoch = map.epoch.0, "restored a cluster");
        Ok(Response::new(pb::RestoreClusterResponse { existed: false }))
    }
}

/// The next part of an incoming state, unless it is late.
async fn next_part(
    messages: &mut Streaming<pb::StageStateRequest>,
) -> Result<Option<pb::StageStateRequest>, Status> {
    let late = |_| Status::deadline_exceeded("the next part of the state did not come in time");
    tokio::time::timeout(stream_writer::IDLE_MAX, messages.message()).await.map_err(late)?
}

/// A fault before there is a cluster does not end the process: nothing depends on the state yet.
fn failed(fault: impl ToString) -> Status {
    Status::internal(fault.to_string())
}
