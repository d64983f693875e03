//! How a node identifies itself.

use coupon_cluster::{Node, NodeId, NodeIdentity};
use coupon_proto::internal as pb;

use crate::Malformed;
use crate::ids::node_id;

/// The node that answers: its cluster (empty: none yet), its id and its store.
///
/// # Errors
///
/// When it gives no id.
pub fn identity_from_pb(answer: &pb::IdentifyResponse) -> Result<NodeIdentity, Malformed> {
    Ok(NodeIdentity {
        cluster_id: answer.cluster_id.clone(),
        node_id: node_id(answer.node_id)?,
        store_id: answer.store_id.clone(),
    })
}

/// The node that answers, as the first map of a cluster has it.
///
/// # Errors
///
/// When it gives no id.
pub fn node_from_identify(answer: &pb::IdentifyResponse) -> Result<(NodeId, Node), Malformed> {
    let node = Node {
        address: answer.address.clone(),
        store_id: answer.store_id.clone(),
        start_id: answer.start_id.clone(),
    };
    Ok((node_id(answer.node_id)?, node))
}
