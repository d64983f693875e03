//! A bound on the memtables of all indexes of a node.
//!
//! Up to [`CLAIMS_MAX`] claims in all, each index fills its memtables as if it were alone. Above that, an index flushes
//! its memtable at an even share of the bound, and blocks instead of queueing a second one for the disk. So the largest
//! of the growing memtables are flushed first. All together hold at most three times [`CLAIMS_MAX`], and one batch per
//! index: what they held when the bound was reached, and for each index one share that waits and one that grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::TABLE_CLAIMS;

/// Number of claims in all memtables of a node beyond which they are flushed early: 102 MB. A disk that falls behind
/// by seconds under one busy shard reaches it, and so do a thousand shards at 100 KB each. Unit tests have few.
const CLAIMS_MAX: usize = TABLE_CLAIMS * if cfg!(test) { 8 } else { 64 };

/// The memtables of a node, counted.
#[derive(Debug, Default)]
pub(in super::super) struct MemtableLimit {
    claims: AtomicUsize,
    indexes: AtomicUsize,
}

/// The memtables of one index. Dropped, they do not count any more.
#[derive(Debug)]
pub(super) struct MemtableShare {
    limit: Arc<MemtableLimit>,
    claims: usize,
}

impl MemtableShare {
    /// That of a further index, without a claim.
    pub(super) fn new(limit: Arc<MemtableLimit>) -> Self {
        limit.indexes.fetch_add(1, Ordering::Relaxed);
        Self { limit, claims: 0 }
    }

    /// Notes how many claims the memtables of the index hold now.
    pub(super) fn note(&mut self, claims: usize) {
        // Wraps around where they are fewer than before.
        self.limit.claims.fetch_add(claims.wrapping_sub(self.claims), Ordering::Relaxed);
        self.claims = claims;
    }

    /// Whether all memtables together hold more than they should.
    pub(super) fn is_exceeded(&self) -> bool {
        self.limit.claims.load(Ordering::Relaxed) > CLAIMS_MAX
    }

    /// Number of claims at which a memtable is flushed now.
    pub(super) fn flushed_at(&self) -> usize {
        if !self.is_exceeded() {
            return TABLE_CLAIMS;
        }
        let even = CLAIMS_MAX / self.limit.indexes.load(Ordering::Relaxed).max(1);
        even.clamp(1, TABLE_CLAIMS)
    }
}

impl Drop for MemtableShare {
    fn drop(&mut self) {
        self.note(0);
        self.limit.indexes.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use coupon_cluster::{RequestId, ShardId};

    use super::super::super::Storage;
    use super::super::super::keys::StateKeys;
    use super::super::Index;
    use super::*;

    #[test]
    fn shares_shrink_while_there_is_too_much() {
        let limit = Arc::new(MemtableLimit::default());
        let (mut one, other) =
            (MemtableShare::new(limit.clone()), MemtableShare::new(limit.clone()));
        one.note(CLAIMS_MAX);
        assert_eq!((one.is_exceeded(), other.flushed_at()), (false, TABLE_CLAIMS));
        let more: Vec<_> = (0..30).map(|_| MemtableShare::new(limit.clone())).collect();
        one.note(CLAIMS_MAX + 1);
        assert_eq!((one.is_exceeded(), other.flushed_at()), (true, CLAIMS_MAX / 32));
        drop(more);
        assert_eq!(other.flushed_at(), TABLE_CLAIMS, "a table is never larger");
        drop(one);
        assert!(!other.is_exceeded());
        drop(other);
        assert_eq!(limit.claims.load(Ordering::Relaxed), 0);
        assert_eq!(limit.indexes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn many_indexes_together_stay_within_their_bound() {
        const INDEXES: u32 = 60;
        /// Those of one index do not fill a memtable.
        const COUPONS: u32 = TABLE_CLAIMS as u32 / 2 - 1;
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).unwrap();
        let open = |shard| {
            let shard = ShardId::new(shard).unwrap();
            storage.index_of(StateKeys::new(shard, 0)).unwrap()
        };
        let indexes: Vec<Arc<Index>> = (1..=INDEXES).map(open).collect();
        let in_memory = |index: &Arc<Index>| -> usize {
            index.layers().memtables().map(|memtable| memtable.read().len()).sum()
        };
        // Two claims a coupon.
        let (all, batches) = ((INDEXES * COUPONS * 2) as usize, (INDEXES * 2) as usize);
        let bound = 3 * CLAIMS_MAX + batches;
        assert!(bound < all);
        for sequence in 1..=COUPONS {
            let request = RequestId::from_bytes(&u128::from(sequence).to_be_bytes()).unwrap();
            for index in &indexes {
                index.start_flush_if_full(&storage);
                index.insert(&index.layers(), 0, sequence.into(), &request, "recipient");
            }
            let held: usize = indexes.iter().map(in_memory).sum();
            assert!(held <= bound, "{held} claims in memory after coupon {sequence}");
        }
        for index in &indexes {
            index.close();
            let layers = index.layers();
            let on_disk: usize = layers.tables.iter().map(|table| table.len()).sum();
            assert!(on_disk > 0);
            assert_eq!(on_disk + in_memory(index), COUPONS as usize * 2);
        }
    }
}
