//! The ledger's types as messages: on disk, in the log and on the wire. What nodes share with routers and tools
//! is read in `coupon-wire`.
//!
//! - [`command`]: what routers ask for, read from the log. Each operation has a file.
//! - [`reopens`]: which of them may undo a refusal.
//! - [`outcome`]: what came of it.
//! - [`row`], [`coupon_history`], [`event`], [`hold`], [`imported_code`]: what is kept on disk.

mod archive_campaign;
pub mod command;
mod confirm_hold;
pub mod coupon_code;
pub mod coupon_history;
pub mod create_campaign;
mod delete_campaign;
mod end_campaign;
pub mod event;
pub mod hold;
mod hold_coupon;
mod import_codes;
pub mod imported_code;
mod issue;
pub mod outcome;
mod pause_campaign;
mod redeem_coupon;
mod release_hold;
pub mod reopens;
mod resume_campaign;
mod reverse_redemption;
pub mod row;
mod update_campaign;
mod void_coupon;

use coupon_cluster::ShardId;
use coupon_ledger::LogTime;
use coupon_wire::Malformed;
use coupon_wire::ids::shard_id;

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

fn shard_ids(ids: &[u32]) -> Result<Vec<ShardId>, Malformed> {
    ids.iter().copied().map(shard_id).collect()
}
