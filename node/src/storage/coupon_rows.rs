//! Coupons as rows: runs of adjacent sequence numbers.
//!
//! A row in RocksDB costs far more than the bytes in it, and the coupons that one log entry issues of
//! a campaign stand next to each other anyway. They share rows, each under the sequence number of its
//! first coupon. Which coupons share one follows from the log alone, so that the rows are the same on
//! all replicas, whatever entries each of them applied together.

use coupon_ledger::Coupon;
use coupon_proto::internal as pb;
use prost::Message as _;
use rocksdb::{DBAccess, DBIteratorWithThreadMode, Direction, IteratorMode, ReadOptions};

use super::index::Coupons;
use super::keys::{StateKeys, trailing_u64};
use super::ledger::decode;
use super::records::history_from;
use super::{Storage, StorageError};
use crate::codec::row;

/// How many coupons share a row at most. Whoever wants one has to decode all of its row, which is
/// what speaks against more.
const ROW_COUPONS_MAX: u64 = 32;

/// Coupons with adjacent sequence numbers, as they are in rows.
#[derive(Default)]
pub struct CouponRun {
    first: u64,
    bytes: Vec<u8>,
    /// Where each coupon ends in `bytes`.
    ends: Vec<usize>,
    /// How many of them [`CouponRun::take_rows`] has returned.
    in_rows: usize,
}

impl CouponRun {
    /// Adds the next coupon; the first one decides about the sequence numbers of all.
    pub fn push(&mut self, sequence: u64, coupon: &Coupon) {
        if self.ends.is_empty() {
            self.first = sequence;
        }
        row::add_coupon_to_row(coupon, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    fn start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// The coupon `sequence`, if it is among them.
    ///
    /// # Errors
    ///
    /// Never: they were encoded here.
    pub fn coupon(&self, sequence: u64) -> Result<Option<pb::CouponRecord>, StorageError> {
        let place = sequence.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place.filter(|place| *place < self.ends.len()) else { return Ok(None) };
        let row: pb::CouponRow =
            decode("coupons", &self.bytes[self.start(place)..self.ends[place]])?;
        Ok(row.coupons.into_iter().next())
    }

    /// The rows of the coupons that were added since the last call, by the entry at `log_index`: pairs of the sequence
    /// number in the key, and the value.
    pub fn take_rows(&mut self, log_index: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let from = std::mem::replace(&mut self.in_rows, self.ends.len());
        (from..self.ends.len()).step_by(ROW_COUPONS_MAX as usize).map(move |place| {
            let end = (place + ROW_COUPONS_MAX as usize).min(self.ends.len());
            let coupons = &self.bytes[self.start(place)..self.ends[end - 1]];
            let rest = pb::CouponRow { log_index, coupons: Vec::new() };
            let mut value = Vec::with_capacity(coupons.len() + rest.encoded_len());
            value.extend_from_slice(coupons);
            rest.encode(&mut value).expect("a Vec takes what it is given");
            (self.first + place as u64, value)
        })
    }
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
    let mut found = run(&key, &value)?.into_iter();
    Ok(found.find(|found| found.sequence == sequence).map(|found| found.coupon))
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

    fn has_returned_quota(&self, number: u32, sequence: u64) -> Result<bool, StorageError> {
        let key = self.keys.coupon_history(number, sequence);
        let row = self.storage.db().get_pinned_cf(self.storage.state(), key)?;
        row.map_or(Ok(false), |row| Ok(history_from(&row)?.state().has_returned_quota()))
    }
}

/// A coupon in a row.
pub struct Found {
    /// Its sequence number.
    pub sequence: u64,
    /// The index of the log entry that issued it.
    pub log_index: u64,
    /// The coupon.
    pub coupon: pb::CouponRecord,
}

/// The coupons of a row.
///
/// # Errors
///
/// When the row is not what was written there.
pub fn run(key: &[u8], value: &[u8]) -> Result<Vec<Found>, StorageError> {
    let first =
        trailing_u64(key).ok_or_else(|| StorageError::corrupt("coupons", "a key is too short"))?;
    let pb::CouponRow { coupons, log_index } = decode("coupons", value)?;
    let found = |(sequence, coupon)| Found { sequence, log_index, coupon };
    Ok((first..).zip(coupons).map(found).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use coupon_cluster::{RequestId, ShardId};
    use coupon_ledger::LogTime;

    use super::*;

    #[test]
    fn coupons_come_back_from_their_rows() {
        let keys = StateKeys::new(ShardId::new(1).unwrap(), 0);
        let coupon = |counter: u64| Coupon {
            counter,
            recipient: "r".repeat(counter as usize % 5),
            request_id: RequestId::from_bytes(&[1; 16]).unwrap(),
            issued_at: LogTime(1),
            expires_at: None,
            metadata: BTreeMap::new(),
            imported_code: None,
        };
        let mut fresh = CouponRun::default();
        let (mut firsts, mut read) = (Vec::new(), Vec::new());
        // Rows end where they are taken, and when they are full.
        for (from, until) in [(0, 100), (100, 100), (100, 133)] {
            (from..until).for_each(|number| fresh.push(7 + number, &coupon(number)));
            for (first, value) in fresh.take_rows(until) {
                firsts.push(first);
                for (sequence, found) in (first..).zip(run(&keys.coupon(3, first), &value).unwrap())
                {
                    assert_eq!((found.sequence, found.log_index), (sequence, until));
                    read.push(found.coupon);
                }
            }
        }
        assert_eq!(firsts, [7, 39, 71, 103, 107, 139]);
        let expected: Vec<_> = (0..133).map(|number| row::coupon_to_pb(coupon(number))).collect();
        assert_eq!(read, expected);
        let found = |sequence| fresh.coupon(sequence).unwrap();
        assert_eq!(found(7), expected.first().cloned());
        assert_eq!(found(139), expected.last().cloned());
        assert_eq!((found(6), found(140)), (None, None));
    }

    #[test]
    fn a_row_that_is_none_is_a_fault() {
        assert!(run(b"short", &[]).is_err());
        assert!(run(b"long enough", &[255]).is_err());
    }
}
