//! Ids in messages.

use coupon_cluster::{CampaignName, NodeId, RequestId, ShardId};

use crate::Malformed;

/// A node id.
///
/// # Errors
///
/// When it is 0.
pub fn node_id(id: u64) -> Result<NodeId, Malformed> {
    NodeId::new(id).map_err(|_| Malformed("node id"))
}

/// A node id where 0 stands for "none".
pub fn optional_node_id(id: u64) -> Option<NodeId> {
    NodeId::new(id).ok()
}

/// A shard id.
///
/// # Errors
///
/// When it is out of range.
pub fn shard_id(id: u32) -> Result<ShardId, Malformed> {
    ShardId::new(id).map_err(|_| Malformed("shard id"))
}

/// A campaign's name, its tenant included.
///
/// # Errors
///
/// When it is malformed.
pub fn campaign_name(text: &str) -> Result<CampaignName, Malformed> {
    CampaignName::parse(text).map_err(|_| Malformed("campaign name"))
}

/// A request id.
///
/// # Errors
///
/// When it has not 16 bytes, or is the nil UUID.
pub fn request_id(bytes: &[u8]) -> Result<RequestId, Malformed> {
    RequestId::from_bytes(bytes).map_err(|_| Malformed("request id"))
}
