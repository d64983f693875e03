//! A filter over the keys of all claims: says of most absent keys that they are absent, without a look at the
//! claims.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007): all bits of a key are in one cache line. When it is full,
//! keys go into a new segment that is twice as large, and look-ups ask both until a thread has added the keys of
//! the one before to the new one.
//!
//! Bits are set with relaxed ordering. That is enough: whatever told a reader of a claim also ordered the claim's bits
//! before the look-up, and completion is published with release ordering.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::RwLock;

/// Words of 64 bits in a block.
const BLOCK_WORDS: usize = 8;
/// Bits set for a key. With [`KEY_BITS`] bits per key, about one absent key in 500 passes a full segment.
const PROBES: u32 = 8;
/// Bits of a segment per key.
const KEY_BITS: usize = 16;
/// Capacity of the first segment, in keys. It takes 32 KiB, since most shards of many are idle.
const FIRST_KEYS: usize = 1 << 14;
/// Growth from one segment to the next.
const GROWTH: usize = 2;
/// Exponent of the growth of the last segment: 67 million keys, of 33 million coupons, in 134 MB. Beyond
/// that it still takes keys, at a growing rate of false positives.
const EXPONENT_MAX: u32 = 12;

/// The filter. While it is incomplete, every key passes. Threads add keys while others look.
pub(super) struct Filter {
    /// The newest one is the last.
    segments: RwLock<Vec<Arc<Segment>>>,
    is_complete: AtomicBool,
}

/// One cache line.
#[derive(Default)]
#[repr(align(64))]
struct Block([AtomicU64; BLOCK_WORDS]);

struct Segment {
    blocks: Box<[Block]>,
    exponent: u32,
    keys: AtomicUsize,
    keys_max: usize,
}

impl Filter {
    /// A filter with room for about `keys` keys.
    pub(super) fn new(keys: usize) -> Self {
        let has_room = |exponent: &u32| keys_max(*exponent) > keys;
        let exponent = (0..EXPONENT_MAX).find(has_room).unwrap_or(EXPONENT_MAX);
        let segments = RwLock::new(vec![Arc::new(Segment::new(exponent))]);
        Self { segments, is_complete: AtomicBool::new(false) }
    }

    /// Notes that every key is added that was there before the filter. Later ones are added with their claims.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Release);
    }

    /// Whether there may be a claim whose key has this hash.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        !self.is_complete.load(Acquire)
            || self.segments.read().iter().rev().any(|segment| segment.may_contain(hash))
    }

    /// Reads what look-ups of these keys will read. The processor fetches it all at once.
    pub(super) fn prefetch(&self, hashes: impl Iterator<Item = u64>) {
        let segments = self.segments.read();
        let bits = hashes.fold(0, |bits, hash| {
            let words = segments.iter().map(|segment| segment.block(hash).0[0].load(Relaxed));
            words.fold(bits, |bits, word| bits ^ word)
        });
        std::hint::black_box(bits);
    }

    /// Adds the key with this hash.
    pub(super) fn insert(&self, hash: u64) {
        let segments = self.segments.read();
        let last = segments.last().expect("there is always one");
        last.insert(hash);
        let exponent = last.exponent;
        if last.keys.fetch_add(1, Relaxed) >= last.keys_max && exponent < EXPONENT_MAX {
            drop(segments);
            let mut segments = self.segments.write();
            // Another thread may have been here first.
            if segments.last().is_some_and(|last| last.exponent == exponent) {
                segments.push(Arc::new(Segment::new(exponent + 1)));
            }
        }
    }

    /// The newest segment, if there are others that it does not replace yet.
    pub(super) fn grown(&self) -> Option<Grown<'_>> {
        let segments = self.segments.read();
        let newest = segments.last().filter(|_| segments.len() > 1)?;
        Some(Grown { filter: self, newest: newest.clone() })
    }
}

/// A segment that is about to replace all before it.
pub(super) struct Grown<'a> {
    filter: &'a Filter,
    newest: Arc<Segment>,
}

impl Grown<'_> {
    /// Adds a key that was in the filter before.
    pub(super) fn insert(&self, hash: u64) {
        self.newest.insert(hash);
        self.newest.keys.fetch_add(1, Relaxed);
    }

    /// Removes the segments before, once all their keys are added.
    pub(super) fn replace(self) {
        let mut segments = self.filter.segments.write();
        if let Some(place) = segments.iter().position(|one| Arc::ptr_eq(one, &self.newest)) {
            segments.drain(..place);
        }
    }
}

/// The number of keys that a segment is made for.
fn keys_max(exponent: u32) -> usize {
    FIRST_KEYS * GROWTH.pow(exponent)
}

impl Segment {
    fn new(exponent: u32) -> Self {
        let keys_max = keys_max(exponent);
        let blocks = (keys_max * KEY_BITS).div_ceil(BLOCK_WORDS * 64);
        let blocks = (0..blocks).map(|_| Default::default()).collect();
        Self { blocks, exponent, keys: AtomicUsize::new(0), keys_max }
    }

    /// The block of a key. The upper bits choose it, the lower ones the bits in it.
    fn block(&self, hash: u64) -> &Block {
        let product = u128::from(hash) * self.blocks.len() as u128;
        &self.blocks[(product >> 64) as usize]
    }

    fn may_contain(&self, hash: u64) -> bool {
        let block = self.block(hash);
        probes(hash).all(|(word, bit)| block.0[word].load(Relaxed) & bit != 0)
    }

    fn insert(&self, hash: u64) {
        let block = self.block(hash);
        probes(hash).for_each(|(word, bit)| {
            block.0[word].fetch_or(bit, Relaxed);
        });
    }
}

/// The words and bits of a key in its block.
fn probes(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    // Spread anew: the bits that choose the block say nothing about those in it.
    let mut bits = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..PROBES).map(move |_| {
        bits = bits.rotate_left(9);
        ((bits >> 6 & 7) as usize, 1 << (bits & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Different for every number, in no order (SplitMix64).
    fn hash(number: u64) -> u64 {
        let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    #[test]
    fn what_is_in_passes_and_little_else() {
        let filter = Filter::new(0);
        filter.complete();
        let keys = 1_500_000;
        (0..keys).for_each(|key| filter.insert(hash(key)));
        assert!(filter.segments.read().len() > 3);
        let check = || {
            assert!((0..keys).all(|key| filter.may_contain(hash(key))));
            let passed = (keys..2 * keys).filter(|key| filter.may_contain(hash(*key))).count();
            assert!(passed < keys as usize / 100, "{passed} of {keys}");
        };
        check();
        let grown = filter.grown().unwrap();
        (0..keys).for_each(|key| grown.insert(hash(key)));
        grown.replace();
        assert_eq!(filter.segments.read().len(), 1);
        assert!(filter.grown().is_none());
        check();
    }

    #[test]
    fn an_incomplete_filter_lets_everything_pass() {
        let filter = Filter::new(0);
        assert!(filter.may_contain(hash(1)));
        filter.complete();
        assert!(!filter.may_contain(hash(1)));
    }

    #[test]
    fn a_full_filter_takes_more_keys() {
        let full = Segment {
            blocks: Box::new([Default::default()]),
            exponent: EXPONENT_MAX,
            keys: 1.into(),
            keys_max: 1,
        };
        let filter = Filter::new(0);
        filter.complete();
        *filter.segments.write() = vec![Arc::new(full)];
        (0..1_000).for_each(|key| filter.insert(hash(key)));
        assert!((0..1_000).all(|key| filter.may_contain(hash(key))));
        assert_eq!(filter.segments.read().len(), 1);
    }
}
