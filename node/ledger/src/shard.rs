//! What a ledger knows about its shard as a whole.

use coupon_cluster::{Epoch, ShardId};

use crate::LogTime;

/// The state of a shard beside its campaigns. The default is that of a shard which has not adopted a
/// ring yet, and therefore owns nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardState {
    /// The epoch the shard is at.
    pub epoch: Epoch,
    /// The members of the ring at that epoch, ascending.
    pub ring_shards: Vec<ShardId>,
    /// The number that the next campaign gets.
    pub next_campaign_number: u32,
    /// The next block of code counters.
    pub next_block: u64,
    /// The first block that campaigns may use now. An abandoned history may have used what was left
    /// of earlier ones.
    pub first_block: u64,
    /// The greatest log time seen.
    pub log_time: LogTime,
    /// How many holds are kept that became no coupon.
    pub holds: u64,
    /// None of them ended earlier.
    pub holds_from: LogTime,
}
