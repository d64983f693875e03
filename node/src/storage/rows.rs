//! Rows that are read by their keys or in the order of these, in a batch that is not written yet as in a view.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;

use super::StorageError;

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

/// Rows that a batch has written, which it has to see before anybody else does.
#[derive(Default)]
pub(super) struct WrittenRows(BTreeMap<Key, Option<Vec<u8>>>);

impl WrittenRows {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_wrote_hides_what_is_stored() {
        let key = |byte: u8| -> Key { Box::from([byte]) };
        let mut written = WrittenRows::default();
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
        let mut written = WrittenRows::default();
        written.note(&[1], Some(Vec::new()));
        let fault = || Err(StorageError::corrupt("a row", "a test"));
        let mut all = written.with_stored(std::iter::once_with(fault), &[0], &[9]);
        assert!(all.any(|key| key.is_err()));
    }
}
