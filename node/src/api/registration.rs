//! Answers nodes that start: may this process act for the store it runs on?
//!
//! The meta shard decides, in its log ([`ShardMap::apply`](coupon_cluster::ShardMap::apply)). It cannot see
//! which nodes are alive: the node that is asked checks that before it proposes.

use std::time::Duration;

use coupon_cluster::{MetaCommand, MetaRefusal, Node, NodeId, Origin, ShardId};
use coupon_proto::internal as pb;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_wire::{Malformed, map, meta};
use tonic::{Code, Status};

use super::status::{self, from_replica_error, malformed};
use crate::meta::propose::{self, ProposeError};
use crate::node::Node as ThisNode;
use crate::peers::Lane;
use crate::registration::reason;

/// Timeout for a node to show that it is alive before it is replaced.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Registers a start with the meta shard. Returns the map with the node in it.
///
/// # Errors
///
/// `FAILED_PRECONDITION` with a [`reason`] when the node must not run as it was started; any other code when
/// it may ask again.
pub(super) async fn register(
    this: &ThisNode,
    request: pb::RegisterNodeRequest,
) -> Result<pb::ShardMap, Status> {
    let map = this.known.get();
    if !map.is_initialized() {
        return Err(Status::unavailable("this node is in no cluster yet"));
    }
    let was_member = !request.cluster_id.is_empty();
    let info = request.node.ok_or_else(|| malformed(&Malformed("node")))?;
    let (id, node) = map::node_from_pb(info).map_err(|error| malformed(&error))?;
    if was_member {
        check_cluster(&map.cluster_id, &request.cluster_id)?;
    }
    let origin = meta::origin(was_member, request.replaces_store_id);
    let known = map.nodes.get(&id);
    if let Some(known) = known {
        check_alive(this, id, known, &node, &origin).await?;
    }
    let seen_start = known.map_or_else(String::new, |known| known.start_id.clone());
    let starts = request.known_start_ids;
    let command = MetaCommand::RegisterNode { id, node, starts, origin, seen_start };
    let map = propose::propose(this.registry.meta().as_ref(), &this.peers, &command).await;
    map.map(|map| map::map_to_pb(&map)).map_err(|error| refused(&error))
}

/// Says whether this node knows anything against a start, and notes the address of the node.
///
/// # Errors
///
/// `FAILED_PRECONDITION` with a [`reason`] when it does. That is not final: the meta shard decides.
pub(super) async fn announce(
    this: &ThisNode,
    request: pb::AnnounceRequest,
) -> Result<pb::AnnounceResponse, Status> {
    let map = this.known.get();
    check_cluster(&map.cluster_id, &request.cluster_id)?;
    let info = request.node.ok_or_else(|| malformed(&Malformed("node")))?;
    let (id, node) = map::node_from_pb(info).map_err(|error| malformed(&error))?;
    let me = this.identify();
    if me.store_id == node.store_id && me.start_id != node.start_id {
        return Err(in_use(&node.store_id, &me.address));
    }
    let known = map.nodes.get(&id);
    // An older map than the node's own says nothing against it.
    if map.version >= request.map_version {
        let objection = match known {
            None => Some(MetaRefusal::NodeRemoved(id)),
            Some(known) if known.store_id != node.store_id => Some(MetaRefusal::StoreReplaced(id)),
            Some(known) if !remembers(&node, &request.known_start_ids, known) => {
                Some(MetaRefusal::StartUnknown(id))
            }
            Some(_) => None,
        };
        if let Some(objection) = objection {
            return Err(meta_refused(&objection, map.version));
        }
    }
    if let Some(known) = known {
        check_alive(this, id, known, &node, &Origin::Member).await?;
        this.peers.announced(id, node.address);
    }
    // Only a leader with a quorum knows that there is one.
    let meta = this.registry.get(ShardId::META).map(|replica| replica.raft);
    let meta_is_led = meta.is_some_and(|meta| meta.leads_with_quorum());
    Ok(pb::AnnounceResponse { meta_is_led, itself: Some(this.announcement()) })
}

/// Whether a node that starts remembers the start of it that a map has.
pub(crate) fn remembers(starting: &Node, known_starts: &[String], known: &Node) -> bool {
    known.start_id == starting.start_id || known_starts.contains(&known.start_id)
}

fn check_cluster(ours: &str, theirs: &str) -> Result<(), Status> {
    if ours == theirs {
        return Ok(());
    }
    let why = format!("this node belongs to cluster {ours}, not {theirs}");
    Err(status::refused(Code::FailedPrecondition, reason::WRONG_CLUSTER, why))
}

/// Refuses a start while another process runs on the store in the map, as far as this node can see.
async fn check_alive(
    this: &ThisNode,
    id: NodeId,
    known: &Node,
    starting: &Node,
    origin: &Origin,
) -> Result<(), Status> {
    // A member with another store was replaced; the map shows that.
    let may_run = known.store_id == starting.store_id || *origin != Origin::Member;
    if !may_run || known.start_id == starting.start_id {
        return Ok(());
    }
    let mut places = vec![known.address.clone()];
    places.extend(this.peers.address(id).filter(|announced| *announced != known.address));
    for place in places {
        check_place(this, id, known, starting, &place).await?;
    }
    Ok(())
}

/// Refuses a start while another process at `address` runs on the store in the map.
async fn check_place(
    this: &ThisNode,
    id: NodeId,
    known: &Node,
    starting: &Node,
    address: &str,
) -> Result<(), Status> {
    let Some(answer) = identify(this, address).await else { return Ok(()) };
    let is_itself = answer.start_id == starting.start_id;
    if is_itself || answer.store_id != known.store_id {
        return Ok(());
    }
    if known.store_id == starting.store_id {
        return Err(in_use(&known.store_id, address));
    }
    let why =
        format!("node {id} runs at {address} with another data directory: is the node id right?");
    Err(status::refused(Code::FailedPrecondition, reason::STORE_IN_USE, why))
}

/// The node that answers at an address, if one does.
async fn identify(this: &ThisNode, address: &str) -> Option<pb::IdentifyResponse> {
    let channel = this.peers.channel_to(address.to_owned(), Lane::Control)?;
    let mut client = ClusterServiceClient::new(channel);
    let asked = client.identify(pb::IdentifyRequest {});
    let answer = tokio::time::timeout(ALIVE_TIMEOUT, asked).await;
    Some(answer.ok()?.ok()?.into_inner())
}

fn in_use(store_id: &str, address: &str) -> Status {
    let why =
        format!("store {store_id} answers at {address} already: is this a copy of its directory?");
    status::refused(Code::FailedPrecondition, reason::STORE_IN_USE, why)
}

/// The status for a refused change of the shard map.
pub(super) fn refused(error: &ProposeError) -> Status {
    match error {
        ProposeError::Refused { refusal, map_version } => meta_refused(refusal, *map_version),
        ProposeError::RefusedElsewhere(status) => status.clone(),
        ProposeError::Replica(error) => from_replica_error(error),
        ProposeError::Unreachable(_) => Status::unavailable(error.to_string()),
    }
}

fn meta_refused(refusal: &MetaRefusal, map_version: u64) -> Status {
    let reason = match refusal {
        // The first map has not arrived yet.
        MetaRefusal::NotFormed => return Status::unavailable(refusal.to_string()),
        MetaRefusal::StartUnknown(_) => reason::START_UNKNOWN,
        MetaRefusal::QuorumAtRisk { .. } => reason::QUORUM_AT_RISK,
        MetaRefusal::StoreReplaced(_) => reason::STORE_REPLACED,
        MetaRefusal::NodeRemoved(_) => reason::NODE_REMOVED,
        MetaRefusal::StoreTaken { .. } => reason::STORE_IN_USE,
        MetaRefusal::NodeInUse { .. } => reason::NODE_IN_USE,
        MetaRefusal::NoSpareNode { .. } => reason::NO_SPARE_NODE,
        // The sender makes a report that no longer fits anew from the map.
        MetaRefusal::SeenOutdated(_)
        | MetaRefusal::AlreadyFormed
        | MetaRefusal::GenesisUnsound(_)
        | MetaRefusal::GenesisNotFirst { .. }
        | MetaRefusal::NodeIncomplete(_)
        | MetaRefusal::CodeKeyTaken(_)
        | MetaRefusal::CodeKeyNotNext { .. }
        | MetaRefusal::TooManyCodeKeys
        | MetaRefusal::ShardUnknown(_)
        | MetaRefusal::ReplicaUnknown { .. }
        | MetaRefusal::ReplicaLeaving { .. }
        | MetaRefusal::ReplicaNotLeaving { .. } => return Status::aborted(refusal.to_string()),
    };
    status::refused_by_map(reason, refusal.to_string(), map_version)
}
