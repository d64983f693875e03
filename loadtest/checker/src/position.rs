//! The order of coupons, and their positions in memory.

use crate::history::Coupon;

/// What an answer says of a coupon, and the order of coupons: those that have a sequence number in
/// common are a fault, and come in a fixed order all the same.
pub(crate) fn as_answered(row: &Coupon) -> (u64, &str, &str) {
    (row.sequence, &row.code, &row.recipient)
}

/// Items with their positions. There are never more than 32 bits of them: the history would take
/// hundreds of gigabytes.
pub(crate) fn numbered<T>(items: &[T]) -> impl Iterator<Item = (u32, &T)> {
    (0..=u32::MAX).zip(items)
}

/// A position as the standard library wants it.
pub(crate) fn place(number: u32) -> usize {
    usize::try_from(number).expect("memory that holds the history has addresses of 32 bits or more")
}
