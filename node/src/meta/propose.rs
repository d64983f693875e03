//! Having the shard map changed: a command to the leader of the meta shard, wherever it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::{MetaCommand, MetaRefusal, NodeId, ShardId, ShardMap};
use coupon_proto::internal as pb;
use coupon_proto::internal::ProposeMetaRequest;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_transport::Mismatch;
use coupon_wire::{map, meta};
use prost::Message as _;
use tonic::{Code, Status};

use crate::peers::{Lane, Peers};
use crate::raft::replica::{RaftReplica, ReplicaError};
use crate::raft::types::{Applied, Proposal};

/// How long one node may take to answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the shard map was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The meta shard refuses the command.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: MetaRefusal,
        /// The version of the shard map by which it does.
        map_version: u64,
    },
    /// This node does not lead the meta shard, or it did not learn the outcome.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The leader of the meta shard, on another node, refuses the command.
    #[error("{0}")]
    RefusedElsewhere(Status),
    /// No node that has a replica of the meta shard could say.
    #[error("the meta shard cannot be reached: {0}")]
    Unreachable(String),
}

/// Proposes to the meta replica of this node, if there is one.
///
/// # Errors
///
/// When it does not lead, refuses, or the outcome is not known. Commands are idempotent: they may
/// be repeated.
pub async fn propose_here(
    replica: Option<&RaftReplica>,
    command: &MetaCommand,
) -> Result<Arc<ShardMap>, ProposeError> {
    let none = ReplicaError::NotLeader { shard: ShardId::META, leader: None };
    let raft = replica.ok_or(none)?;
    let pb::LogHeader { committed_index, acknowledged } = raft.log_header();
    let command = pb::MetaCommand { committed_index, acknowledged, ..meta::command_to_pb(command) };
    let proposal = Proposal(Bytes::from(command.encode_to_vec()));
    match raft.propose_and_wait(proposal).await? {
        Applied::Meta(Ok(map)) => Ok(map),
        Applied::Meta(Err((refusal, map_version))) => {
            Err(ProposeError::Refused { refusal, map_version })
        }
        Applied::Nothing | Applied::Ledger(_) => {
            Err(ReplicaError::OutcomeUnknown(ShardId::META).into())
        }
    }
}

/// Proposes to the leader of the meta shard, wherever it is: here first, then on every other node
/// that has a replica of it. One round; the caller repeats it.
///
/// # Errors
///
/// As [`propose_here`].
pub async fn propose(
    replica: Option<&RaftReplica>,
    peers: &Peers,
    command: &MetaCommand,
) -> Result<Arc<ShardMap>, ProposeError> {
    match propose_here(replica, command).await {
        Err(ProposeError::Replica(_)) => {}
        done => return done,
    }
    let mut last = "no other node has a replica of it".to_owned();
    for node in peers.map().owner_nodes(ShardId::META) {
        match propose_there(peers, node, command).await {
            Ok(map) => return Ok(map),
            Err(Failure::Refused(status)) => return Err(ProposeError::RefusedElsewhere(status)),
            Err(Failure::NoAnswer(why)) => last = format!("node {node}: {why}"),
        }
    }
    Err(ProposeError::Unreachable(last))
}

/// Why a node did not change the map.
enum Failure {
    /// It leads the meta shard, and refuses.
    Refused(Status),
    /// It does not lead, or did not answer.
    NoAnswer(String),
}

async fn propose_there(
    peers: &Peers,
    node: NodeId,
    command: &MetaCommand,
) -> Result<Arc<ShardMap>, Failure> {
    let no_answer = |why: &str| Failure::NoAnswer(why.to_owned());
    let channel =
        peers.channel(node, Lane::Control).ok_or_else(|| no_answer("it has no address"))?;
    let request = ProposeMetaRequest { command: Some(meta::command_to_pb(command)) };
    let mut client = ClusterServiceClient::new(channel);
    let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, client.propose_meta(request))
        .await
        .map_err(|_| no_answer("no answer in time"))?
        .map_err(|status| {
            let refuses = matches!(status.code(), Code::FailedPrecondition | Code::Aborted);
            // An answer by another node says nothing about the command.
            if refuses && Mismatch::of(&status).is_none() {
                Failure::Refused(status)
            } else {
                no_answer(status.message())
            }
        })?;
    let map = answer.into_inner().map.ok_or_else(|| no_answer("an empty answer"))?;
    map::map_from_pb(map).map(Arc::new).map_err(|error| no_answer(&error.to_string()))
}
