//! Continuing from a backup, or from one of two histories.
//!
//! The state that the shard continues from lacks the codes that were issued after the backup, or in the
//! abandoned history; people hold those codes. So the shard skips every counter that could have been used:
//! campaigns give up the blocks they were using, and the next block is far ahead. People hold ids that are made
//! of campaign numbers as well, so numbers are skipped alike.
//!
//! A lost code from such a block decodes to the block's campaign and to a sequence number that may belong to
//! another coupon now: code lookups must compare the coupon's counter with the code's.

use coupon_cluster::COUNTER_LIMIT;

use crate::{BLOCK_SIZE, ShardState};

/// Number of blocks that a restored shard skips: 2^40 counters, more than a shard that issues 50,000 coupons
/// a second uses in eight months. A shard has 16 times as many, so a chain of clusters, each restored from a
/// backup of the one before, can be 15 restores long.
pub const BLOCKS_SKIPPED: u64 = (1 << 40) / BLOCK_SIZE as u64;

/// Number of campaign numbers that a restored shard skips: a sixteenth of all, as of the counters. A shard that has
/// used up the rest creates no more campaigns.
pub const CAMPAIGN_NUMBERS_SKIPPED: u32 = 1 << 28;

/// Number of blocks of a shard.
const BLOCKS_MAX: u64 = COUNTER_LIMIT / BLOCK_SIZE as u64;

/// The shard has too few counters left to skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the next block of code counters is {next_block} of {BLOCKS_MAX}, and a restore skips \
     {BLOCKS_SKIPPED} blocks: this shard cannot be restored again"
)]
pub struct CountersExhausted {
    /// The block that would have been the next one.
    pub next_block: u64,
}

impl ShardState {
    /// The state to continue from, given the state in a backup or of the chosen history. It will use no
    /// counter and no campaign number that could have been used since the backup, or by the other history.
    ///
    /// # Errors
    ///
    /// When there are not enough counters left.
    pub fn restored(self) -> Result<Self, CountersExhausted> {
        let next_block = self.next_block.saturating_add(BLOCKS_SKIPPED);
        if next_block >= BLOCKS_MAX {
            return Err(CountersExhausted { next_block: self.next_block });
        }
        let next_campaign_number =
            self.next_campaign_number.saturating_add(CAMPAIGN_NUMBERS_SKIPPED);
        Ok(Self { next_campaign_number, next_block, first_block: next_block, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_can_be_restored_fifteen_times_over() {
        let mut state =
            ShardState { next_campaign_number: 5, next_block: 70, ..ShardState::default() };
        for times in 1..=15 {
            state = state.restored().unwrap();
            assert_eq!(state.next_block, 70 + times * BLOCKS_SKIPPED);
            let numbers_skipped = times * u64::from(CAMPAIGN_NUMBERS_SKIPPED);
            assert_eq!(u64::from(state.next_campaign_number), 5 + numbers_skipped);
        }
        let next_block = state.next_block;
        assert_eq!(state.restored(), Err(CountersExhausted { next_block }));
        let last = ShardState { next_block: u64::MAX, ..ShardState::default() };
        assert!(last.restored().is_err());
    }
}
