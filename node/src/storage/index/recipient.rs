//! What a recipient holds: of a campaign, and of all campaigns.

use super::claim::Claim;
use super::{Coupons, Index, Layers, StorageError};

/// The place of a coupon in its shard. Places are ordered by their fields in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CouponPlace {
    /// The number of its campaign.
    pub campaign_number: u32,
    /// Its sequence number.
    pub sequence: u64,
}

impl Index {
    /// The sequence numbers, ascending, of the latest `limit` coupons of a campaign that a recipient was issued and
    /// that did not return their quota; `None` if they are fewer. Of those that did, at most `skipped_max` are skipped:
    /// see [`StateReader::sequences_at_limit`](coupon_ledger::StateReader::sequences_at_limit). So there are at most
    /// `2 * (limit + skipped_max + 1)` look-ups, collisions aside.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(in super::super) fn held_at_limit(
        &self,
        layers: &Layers,
        coupons: &impl Coupons,
        number: u32,
        recipient: &str,
        limit: usize,
        skipped_max: usize,
    ) -> Result<Option<Vec<u64>>, StorageError> {
        let mut claimed = self.newest_first(layers, self.hasher.recipient(number, recipient));
        // Fewer claims can be neither at the limit nor more than are skipped, and need no check: each coupon has one.
        let fewest = if skipped_max == 0 { limit } else { limit.min(skipped_max + 1) };
        let first: Vec<u64> = claimed.by_ref().take(fewest).collect::<Result<_, _>>()?;
        if first.len() < fewest {
            return Ok(None);
        }
        let (mut held, mut skipped) = (Vec::new(), 0);
        for sequence in first.into_iter().map(Ok).chain(claimed) {
            let sequence = sequence?;
            let coupon = coupons.coupon(number, sequence)?;
            if coupon.is_none_or(|coupon| coupon.recipient != recipient) {
                continue;
            }
            if skipped_max > 0 && coupons.has_returned_quota(number, sequence)? {
                skipped += 1;
            } else {
                held.push(sequence);
            }
            if held.len() == limit || skipped > skipped_max {
                held.reverse();
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// Places after `after`, in order, at most `max`: those of all coupons that a recipient holds, in all campaigns, and
    /// perhaps others. Reads what the recipient holds, and a block of each table, however many campaigns there are.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(in super::super) fn claimed_by(
        &self,
        layers: &Layers,
        recipient: &str,
        after: CouponPlace,
        max: usize,
    ) -> Result<Vec<CouponPlace>, StorageError> {
        let Some(first) = self.first_claim(recipient, after) else { return Ok(Vec::new()) };
        let mut claims = Vec::new();
        for table in layers.tables.iter() {
            let of_recipient = table.claims_from(first).take_while(|claim| {
                claim.as_ref().map_or(true, |claim| claim.key.hash == first.key.hash)
            });
            for claim in of_recipient.take(max) {
                claims.push(claim?);
            }
        }
        for memtable in layers.memtables() {
            claims.extend(memtable.read().claims_from(first, max));
        }
        claims.sort_unstable();
        claims.truncate(max);
        let places = claims.into_iter().map(|Claim { key, sequence }| CouponPlace {
            campaign_number: key.number,
            sequence: sequence.into(),
        });
        Ok(places.collect())
    }

    /// The least claim of a recipient after a place, if there can be one.
    fn first_claim(&self, recipient: &str, after: CouponPlace) -> Option<Claim> {
        let next = u32::try_from(after.sequence).ok().and_then(|last| last.checked_add(1));
        let (number, sequence) = match next {
            Some(sequence) => (after.campaign_number, sequence),
            None => (after.campaign_number.checked_add(1)?, 0),
        };
        Some(Claim { key: self.hasher.recipient(number, recipient), sequence })
    }
}
