//! Holds as rows: each under its id, and in orders besides: those that became no coupon by their ends in the shard, and
//! those that were not released either by their ends in their campaign, and for their recipient.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;

use coupon_cluster::RequestId;
use coupon_ledger::{EndsFound, Hold, HoldEnd, LogTime};
use coupon_proto::internal as pb;
use prost::Message as _;

use super::StorageError;
use super::keys::{StateKeys, after_prefix, trailing_hold};
use super::ledger::decode;
use crate::codec::hold;

/// A key of a row.
pub(super) type Key = Box<[u8]>;

/// Rows of a state, looked up by their keys, or read in the order of these.
pub(super) trait Rows {
    /// The value of a row, if it is there.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The keys from `first` on, and before `end`.
    fn keys(
        &self,
        first: &[u8],
        end: &[u8],
    ) -> impl Iterator<Item = Result<Key, StorageError>> + use<'_, Self>;
}

/// A hold of a campaign.
pub(super) fn hold(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    hold_id: &RequestId,
) -> Result<Option<Hold>, StorageError> {
    let Some(value) = rows.get(&keys.hold(number, hold_id))? else { return Ok(None) };
    let record: pb::HoldRecord = decode("hold", &value)?;
    hold::from_pb(record).map(Some).map_err(|error| StorageError::corrupt("hold", error))
}

/// The holds of a campaign, by id.
pub(super) fn holds<R: Rows>(
    rows: &R,
    keys: StateKeys,
    number: u32,
) -> impl Iterator<Item = Result<(RequestId, Hold), StorageError>> + use<'_, R> {
    let first = keys.holds(number);
    let all = rows.keys(&first, &after(keys, &first));
    all.map(move |key| {
        let malformed = || StorageError::corrupt("hold", "its key is malformed");
        let key = key?;
        let hold_id = key.strip_prefix(first.as_slice()).ok_or_else(malformed)?;
        let hold_id = RequestId::from_bytes(hold_id).map_err(|_| malformed())?;
        let found = hold(rows, keys, number, &hold_id)?;
        let found = found.ok_or_else(|| StorageError::corrupt("hold", "its row is gone"))?;
        Ok((hold_id, found))
    })
}

/// How many open holds of a campaign end at `from` or later and no later than `until`, and when the next one does. Looks at
/// some of them, as [`EndsFound::of`] does.
pub(super) fn hold_ends(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    from: LogTime,
    until: LogTime,
    max: usize,
) -> Result<EndsFound, StorageError> {
    let first = keys.hold_ends_of_campaign_from(number, from);
    let end = after(keys, &keys.hold_ends_of_campaign(number));
    let ends = rows.keys(&first, &end).map(|key| end_in(&key?).map(|(at, _)| at));
    EndsFound::of(ends, until, max)
}

/// The holds of a campaign for a recipient that end after `now`, at most `max`.
pub(super) fn open_holds_of(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    recipient: &str,
    now: LogTime,
    max: usize,
) -> Result<Vec<RequestId>, StorageError> {
    let first = keys.holds_of_recipient_from(number, recipient, now.after_micros(1));
    let end = after(keys, &keys.holds_of_recipient(number, recipient));
    let open = rows.keys(&first, &end).take(max);
    open.map(|key| end_in(&key?).map(|(_, hold_id)| hold_id)).collect()
}

/// The hold of the shard that ends first, at `from` or later.
pub(super) fn first_hold_end(
    rows: &impl Rows,
    keys: StateKeys,
    from: LogTime,
) -> Result<Option<HoldEnd>, StorageError> {
    let end = after(keys, &keys.hold_ends());
    let Some(key) = rows.keys(&keys.hold_ends_from(from), &end).next() else { return Ok(None) };
    let found = keys.hold_end_of(&key?);
    found.map(Some).ok_or_else(|| StorageError::corrupt("end of a hold", "its key is malformed"))
}

/// The key after all those that begin with a prefix.
fn after(keys: StateKeys, prefix: &[u8]) -> Vec<u8> {
    after_prefix(prefix).unwrap_or_else(|| keys.end().to_vec())
}

fn end_in(key: &[u8]) -> Result<(LogTime, RequestId), StorageError> {
    trailing_hold(key).ok_or_else(|| StorageError::corrupt("end of a hold", "its key is malformed"))
}

/// The rows of holds that a batch has written, which it has to see before anybody else does.
#[derive(Default)]
pub(super) struct WrittenHolds(BTreeMap<Key, Option<Vec<u8>>>);

impl WrittenHolds {
    /// Notes a row; `None`: it is removed.
    pub(super) fn note(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        self.0.insert(key.into(), value);
    }

    /// Notes that all rows between two keys are removed.
    pub(super) fn remove(&mut self, first: &[u8], end: &[u8]) {
        let removed: Vec<Key> = self.between(first, end).map(|(key, _)| key.clone()).collect();
        removed.iter().for_each(|key| self.note(key, None));
    }

    /// The value of a row that was written; `None`: this one was not.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.0.get(key).cloned()
    }

    /// The keys between two, with those of the rows that are stored.
    pub(super) fn with_stored<I: Iterator<Item = Result<Key, StorageError>>>(
        &self,
        stored: I,
        first: &[u8],
        end: &[u8],
    ) -> impl Iterator<Item = Result<Key, StorageError>> + use<'_, I> {
        merged(stored, self.between(first, end))
    }

    fn between(&self, first: &[u8], end: &[u8]) -> Range<'_, Key, Option<Vec<u8>>> {
        self.0.range::<[u8], _>((Bound::Included(first), Bound::Excluded(end)))
    }
}

/// Two lists of keys as one, in which what was written takes the place of what is stored.
fn merged<I: Iterator<Item = Result<Key, StorageError>>>(
    stored: I,
    written: Range<'_, Key, Option<Vec<u8>>>,
) -> impl Iterator<Item = Result<Key, StorageError>> + use<'_, I> {
    let (mut stored, mut written) = (stored.peekable(), written.peekable());
    std::iter::from_fn(move || {
        loop {
            let Some((key, value)) = written.peek().copied() else { return stored.next() };
            // A fault goes first.
            let is_first = |stored: &Result<Key, StorageError>| {
                stored.as_ref().map_or(true, |stored| stored < key)
            };
            if let Some(next) = stored.next_if(is_first) {
                return Some(next);
            }
            stored.next_if(|stored| stored.as_ref().is_ok_and(|stored| stored == key));
            written.next();
            if value.is_some() {
                return Some(Ok(key.clone()));
            }
        }
    })
}

/// The value of the row of a hold.
pub(super) fn value(hold: &Hold) -> Vec<u8> {
    hold::to_pb(hold).encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_wrote_hides_what_is_stored() {
        let key = |byte: u8| -> Key { Box::from([byte]) };
        let mut written = WrittenHolds::default();
        written.note(&[1], Some(Vec::new()));
        written.note(&[3], None);
        written.note(&[5], Some(Vec::new()));
        written.note(&[6], None);
        written.note(&[9], Some(Vec::new()));
        let stored = [2, 3, 4, 5, 7].map(|byte| Ok(key(byte)));
        let all = written.with_stored(stored.into_iter(), &[0], &[9]);
        let all: Vec<Key> = all.map(Result::unwrap).collect();
        assert_eq!(all, [1, 2, 4, 5, 7].map(key));
        assert_eq!((written.get(&[3]), written.get(&[4])), (Some(None), None));
    }

    #[test]
    fn a_fault_is_not_lost_among_the_keys() {
        let mut written = WrittenHolds::default();
        written.note(&[1], Some(Vec::new()));
        let fault = || Err(StorageError::corrupt("a row", "a test"));
        let mut all = written.with_stored(std::iter::once_with(fault), &[0], &[9]);
        assert!(all.any(|key| key.is_err()));
    }
}
