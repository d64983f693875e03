//! What was done with coupons, next to them.

use std::iter::Peekable;

use coupon_ledger::CouponHistory;

use super::{Row, StorageError, history_from};
use crate::storage::keys::trailing_u64;

/// What was done with coupons, asked for in the order of their sequence numbers: their histories are read side by side
/// with them. `None`: nothing was done with any.
pub(super) struct Histories<I: Iterator>(Option<Peekable<I>>);

impl<I: Iterator<Item = Result<Row, StorageError>>> Histories<I> {
    /// The histories in these rows.
    pub(super) fn new(rows: Option<I>) -> Self {
        Self(rows.map(Iterator::peekable))
    }

    /// What was done with a coupon.
    ///
    /// # Errors
    ///
    /// When the disk fails, or a row is not what was written there.
    pub(super) fn of(&mut self, sequence: u64) -> Result<CouponHistory, StorageError> {
        let Some(rows) = &mut self.0 else { return Ok(CouponHistory::default()) };
        let is_before = |row: &Result<Row, StorageError>, place: u64| {
            row.as_ref().is_ok_and(|(key, _)| trailing_u64(key).is_some_and(|found| found < place))
        };
        while rows.next_if(|row| is_before(row, sequence)).is_some() {}
        // A fault is not before any place, so that it comes next.
        let is_of = |row: &Result<Row, StorageError>| {
            row.is_err() || is_before(row, sequence.saturating_add(1))
        };
        match rows.next_if(is_of) {
            Some(row) => history_from(&row?.1),
            None => Ok(CouponHistory::default()),
        }
    }
}
