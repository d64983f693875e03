//! Blocks of code counters.
//!
//! Every coupon of a shard has a counter of its own, and its code is made of that counter. A campaign
//! takes counters in blocks, so that one small record for each block, instead of one for each coupon,
//! leads from a code back to its coupon.

use coupon_cluster::COUNTER_LIMIT;

use crate::{CampaignCounters, CampaignSpec, ShardState, Store};

/// How many counters a block has. Large enough that block records are no cost (one for 65,536
/// coupons), small enough that a shard has some for every campaign, most of which are small.
pub const BLOCK_SIZE: u32 = 1 << 16;

/// The first counter of a block; `None`: codes have no room for counters that great.
fn first_counter(block: u64) -> Option<u64> {
    (block < COUNTER_LIMIT / u64::from(BLOCK_SIZE)).then(|| block * u64::from(BLOCK_SIZE))
}

/// Takes the next counter for a campaign, out of a new block if the one in use is used up. `None`:
/// the shard has no counters left, and nothing was changed.
pub(crate) fn take_counter<S: Store>(
    shard: &mut ShardState,
    store: &mut S,
    campaign: &CampaignSpec,
    counters: &mut CampaignCounters,
) -> Result<Option<u64>, S::Error> {
    let is_given_up = counters.next_counter / u64::from(BLOCK_SIZE) < shard.first_block;
    if counters.block_left == 0 || is_given_up {
        let block = shard.next_block;
        let Some(first) = first_counter(block) else { return Ok(None) };
        store.put_block(block, campaign.number, counters.issued.saturating_add(1))?;
        shard.next_block = block.saturating_add(1);
        counters.next_counter = first;
        counters.block_left = BLOCK_SIZE;
    }
    let counter = counters.next_counter;
    counters.next_counter = counter.saturating_add(1);
    counters.block_left -= 1;
    Ok(Some(counter))
}
