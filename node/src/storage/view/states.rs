//! What coupons are, next to them.

use std::iter::Peekable;

use coupon_ledger::CouponState;

use super::{Row, StorageError, history_from};
use crate::storage::keys::trailing_u64;

/// What coupons were at a revision, asked for in the order of their sequence numbers: their histories are read side by
/// side with them.
pub(super) struct States<I: Iterator> {
    /// `None`: every coupon is as it was issued.
    rows: Option<Peekable<I>>,
    revision: u64,
}

impl<I: Iterator<Item = Result<Row, StorageError>>> States<I> {
    /// The states in these rows of histories.
    pub(super) fn new(rows: Option<I>, revision: u64) -> Self {
        Self { rows: rows.map(Iterator::peekable), revision }
    }

    /// What a coupon was; `None` where that is not known any more.
    ///
    /// # Errors
    ///
    /// When the disk fails, or a row is not what was written there.
    pub(super) fn of(&mut self, sequence: u64) -> Result<Option<CouponState>, StorageError> {
        let Some(rows) = &mut self.rows else { return Ok(Some(CouponState::Issued)) };
        let is_before = |row: &Result<Row, StorageError>, place: u64| {
            row.as_ref().is_ok_and(|(key, _)| trailing_u64(key).is_some_and(|found| found < place))
        };
        while rows.next_if(|row| is_before(row, sequence)).is_some() {}
        // A fault is not before any place, so that it comes next.
        let is_of = |row: &Result<Row, StorageError>| {
            row.is_err() || is_before(row, sequence.saturating_add(1))
        };
        match rows.next_if(is_of) {
            Some(row) => Ok(history_from(&row?.1)?.state_at(self.revision)),
            None => Ok(Some(CouponState::Issued)),
        }
    }
}
