//! Coupons as rows: runs of adjacent sequence numbers.
//!
//! A row in RocksDB costs far more than the bytes in it, and the coupons that one log entry issues of
//! a campaign stand next to each other anyway. They share rows, each under the sequence number of its
//! first coupon. Which coupons share one follows from the log alone, so that the rows are the same on
//! all replicas, whatever entries each of them applied together.

use coupon_proto::internal as pb;
use prost::encoding::message;
use rocksdb::{DBAccess, DBIteratorWithThreadMode, Direction, IteratorMode, ReadOptions};

use super::index::Coupons;
use super::keys::{StateKeys, trailing_u64};
use super::ledger::decode;
use super::{Storage, StorageError};

/// How many coupons share a row at most. Whoever wants one has to decode all of its row, which is
/// what speaks against more.
const ROW_COUPONS_MAX: u64 = 32;

/// The number of the field `coupons` of a `CouponRow`.
const COUPONS_FIELD: u32 = 1;

/// The rows that hold `coupons`, the first of which has the sequence number `first`: pairs of the
/// sequence number in the key, and the value.
pub fn rows(first: u64, coupons: &[pb::CouponRecord]) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
    let firsts = (first..).step_by(ROW_COUPONS_MAX as usize);
    firsts.zip(coupons.chunks(ROW_COUPONS_MAX as usize)).map(|(first, run)| {
        let mut value = Vec::new();
        for coupon in run {
            message::encode(COUPONS_FIELD, coupon, &mut value);
        }
        (first, value)
    })
}

/// The first sequence number that a row may have which holds `sequence`.
pub fn earliest_first(sequence: u64) -> u64 {
    sequence.saturating_sub(ROW_COUPONS_MAX - 1)
}

/// Where to look for the row that holds a coupon: its iterator gives that row first.
pub fn look_up(keys: StateKeys, number: u32, sequence: u64) -> (ReadOptions, Vec<u8>) {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(keys.coupon(number, earliest_first(sequence)));
    (options, keys.coupon(number, sequence))
}

/// The mode of an iterator over what [`look_up`] says.
pub fn mode(key: &[u8]) -> IteratorMode<'_> {
    IteratorMode::From(key, Direction::Reverse)
}

/// The coupon `sequence`, if there is one, from the row that an iterator over what [`look_up`] says gives first.
///
/// # Errors
///
/// When the disk fails.
pub fn coupon<D: DBAccess>(
    mut rows: DBIteratorWithThreadMode<'_, D>,
    sequence: u64,
) -> Result<Option<pb::CouponRecord>, StorageError> {
    let Some(row) = rows.next() else { return Ok(None) };
    let (key, value) = row?;
    let (first, mut coupons) = run(&key, &value)?;
    let place = sequence.checked_sub(first).and_then(|place| usize::try_from(place).ok());
    let place = place.filter(|place| *place < coupons.len());
    Ok(place.map(|place| coupons.swap_remove(place)))
}

/// The coupons of a state as they are now.
pub(super) struct Issued<'a> {
    pub(super) storage: &'a Storage,
    pub(super) keys: StateKeys,
}

impl Coupons for Issued<'_> {
    fn coupon(&self, number: u32, sequence: u64) -> Result<Option<pb::CouponRecord>, StorageError> {
        let (options, key) = look_up(self.keys, number, sequence);
        let family = self.storage.coupons();
        coupon(self.storage.db().iterator_cf_opt(family, options, mode(&key)), sequence)
    }
}

/// The coupons of a row, and the sequence number of the first.
///
/// # Errors
///
/// When the row is not what was written there.
pub fn run(key: &[u8], value: &[u8]) -> Result<(u64, Vec<pb::CouponRecord>), StorageError> {
    let first =
        trailing_u64(key).ok_or_else(|| StorageError::corrupt("coupons", "a key is too short"))?;
    let run: pb::CouponRow = decode("coupons", value)?;
    Ok((first, run.coupons))
}

#[cfg(test)]
mod tests {
    use coupon_cluster::ShardId;

    use super::*;

    #[test]
    fn coupons_come_back_from_their_rows() {
        let keys = StateKeys::new(ShardId::new(1).unwrap(), 0);
        let coupons: Vec<_> = (0..100)
            .map(|counter| pb::CouponRecord { counter, ..pb::CouponRecord::default() })
            .collect();
        let rows: Vec<_> = rows(7, &coupons).collect();
        assert_eq!(rows.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [7, 39, 71, 103]);
        let mut read = Vec::new();
        for (first, value) in &rows {
            let (found, coupons) = run(&keys.coupon(3, *first), value).unwrap();
            assert_eq!(found, *first);
            read.extend(coupons);
        }
        assert_eq!(read, coupons);
    }

    #[test]
    fn a_row_that_is_none_is_a_fault() {
        assert!(run(b"short", &[]).is_err());
        assert!(run(b"long enough", &[255]).is_err());
    }
}
