//! What a recipient holds of a campaign.

use super::{Coupons, Index, Layers, StorageError, claims_of};

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
