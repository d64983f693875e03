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
    /// The sequence numbers, ascending, of the coupons that a recipient holds of a campaign, if they are at least
    /// `limit`.
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
    ) -> Result<Option<Vec<u64>>, StorageError> {
        let mut claimed = self.newest_first(layers, self.hasher.recipient(number, recipient));
        let mut held = Vec::new();
        while held.len() < limit {
            // Fewer claims than the limit need no check: each coupon has one.
            let wanted = limit - held.len();
            let next: Vec<u64> = claimed.by_ref().take(wanted).collect::<Result<_, _>>()?;
            if next.len() < wanted {
                return Ok(None);
            }
            for sequence in next {
                let coupon = coupons.coupon(number, sequence)?;
                if coupon.is_some_and(|coupon| coupon.recipient == recipient) {
                    held.push(sequence);
                }
            }
        }
        held.reverse();
        Ok(Some(held))
    }

    /// The sequence numbers, ascending, of the latest coupons that a recipient holds of a campaign, at most `max`.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(in super::super) fn latest_held(
        &self,
        layers: &Layers,
        coupons: &impl Coupons,
        number: u32,
        recipient: &str,
        max: usize,
    ) -> Result<Vec<u64>, StorageError> {
        let mut held = Vec::new();
        for sequence in self.newest_first(layers, self.hasher.recipient(number, recipient)) {
            if held.len() == max {
                break;
            }
            let sequence = sequence?;
            let coupon = coupons.coupon(number, sequence)?;
            if coupon.is_some_and(|coupon| coupon.recipient == recipient) {
                held.push(sequence);
            }
        }
        held.reverse();
        Ok(held)
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
