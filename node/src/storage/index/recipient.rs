//! What a recipient holds of a campaign.

use super::{Coupons, Index, Layers, StorageError, claims_of};

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

    /// Sequence numbers, greater than `after`, ascending: those of all coupons that a recipient holds of a campaign,
    /// and perhaps others.
    pub(in super::super) fn claimed_by<'a>(
        &'a self,
        layers: &'a Layers,
        number: u32,
        recipient: &str,
        after: u64,
    ) -> impl Iterator<Item = Result<u64, StorageError>> + use<'a> {
        let key = self.hasher.recipient(number, recipient);
        let (tables, memtables) = self.may_hold(layers, key);
        let first = u32::try_from(after).ok().and_then(|after| after.checked_add(1));
        let on_disk = tables.iter().filter_map(move |table| Some((table, first?)));
        let on_disk = on_disk.flat_map(move |(table, first)| claims_of(table, key, first));
        let in_memory = memtables.flat_map(move |memtable| {
            let sequences = memtable.read().sequences(key).into_iter().map(u64::from);
            sequences.filter(move |sequence| *sequence > after).map(Ok)
        });
        on_disk.chain(in_memory)
    }
}
