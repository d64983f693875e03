//! The ledger's types as messages: on disk, in the log and on the wire.
//!
//! - [`command`]: what routers ask for, read from the log. Each operation has a file.
//! - [`map`]: the shard map and its commands.
//! - [`outcome`]: what came of it.
//! - [`row`]: what is kept on disk.

pub mod command;
mod create_campaign;
mod issue;
pub mod map;
pub mod outcome;
mod pause_campaign;
mod resume_campaign;
pub mod row;

use coupon_cluster::{CampaignName, RequestId, ShardId};
use coupon_ledger::LogTime;

/// A message lacks what every message of its kind has.
#[derive(Debug, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct Malformed(pub &'static str);

/// 0 stands for "none" in times and durations: nothing happens at the very beginning of 1970.
fn nonzero(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

fn time_to_pb(time: Option<LogTime>) -> u64 {
    time.map_or(0, |time| time.0)
}

fn time_from_pb(micros: u64) -> Option<LogTime> {
    nonzero(micros).map(LogTime)
}

fn campaign_name(text: &str) -> Result<CampaignName, Malformed> {
    CampaignName::parse(text).map_err(|_| Malformed("campaign name"))
}

fn shard_id(id: u32) -> Result<ShardId, Malformed> {
    ShardId::new(id).map_err(|_| Malformed("shard id"))
}

fn shard_ids(ids: &[u32]) -> Result<Vec<ShardId>, Malformed> {
    ids.iter().copied().map(shard_id).collect()
}

fn request_id(bytes: &[u8]) -> Result<RequestId, Malformed> {
    RequestId::from_bytes(bytes).map_err(|_| Malformed("request id"))
}
