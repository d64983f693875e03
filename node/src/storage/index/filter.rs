//! A filter over the keys of the index rows on disk: says of most absent keys that they are absent, without
//! asking RocksDB.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007): all bits of a key are in one cache line. It grows by
//! segments, each four times as large as the one before; a key is in the newest segment at the time it was
//! added, and a look-up asks all segments.
//!
//! Bits are set without any order among threads. Whoever looks for a key that left the memory has seen it leave
//! (see [`super::Index::layers`]), or the filter become complete, and with that its bits.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::RwLock;

/// Words of 64 bits in a block: one cache line.
const BLOCK_WORDS: usize = 8;
/// Bits set for a key. With [`KEY_BITS`] bits per key, about one absent key in a hundred passes a full segment.
const PROBES: u32 = 6;
/// Bits of a segment per key.
const KEY_BITS: usize = 12;
/// Capacity of the first segment, in keys.
const FIRST_KEYS: usize = 1 << 18;
/// Growth from one segment to the next.
const GROWTH: usize = 4;
/// Maximum number of segments: 22 million keys, of 11 million coupons, in 33 MB. A filter that is full lets
/// everything pass.
const SEGMENTS_MAX: usize = 4;

/// The filter. While it is incomplete, every key passes. Threads add keys while others look.
#[derive(Default)]
pub(super) struct Filter {
    segments: RwLock<Vec<Arc<Segment>>>,
    is_complete: AtomicBool,
    is_full: AtomicBool,
}

struct Segment {
    blocks: Box<[[AtomicU64; BLOCK_WORDS]]>,
    keys: AtomicUsize,
    keys_max: usize,
}

impl Filter {
    /// Notes that every key that was on disk is added. Those of later rows are added before the rows leave the
    /// memory.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Release);
    }

    /// Whether the key with this hash may be on disk.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        !self.is_complete.load(Acquire)
            || self.is_full.load(Relaxed)
            || self.segments.read().iter().rev().any(|segment| segment.may_contain(hash))
    }

    /// Adds the keys with these hashes.
    pub(super) fn insert_all(&self, hashes: impl Iterator<Item = u64>) {
        let mut last = self.segments.read().last().cloned();
        for hash in hashes {
            let segment = match last {
                Some(segment) if segment.has_room() => segment,
                Some(_) | None => match self.grow() {
                    Some(segment) => segment,
                    None => return,
                },
            };
            segment.insert(hash);
            last = Some(segment);
        }
    }

    /// A segment that has room, made if need be; `None` if there are as many as there may be.
    fn grow(&self) -> Option<Arc<Segment>> {
        let mut segments = self.segments.write();
        if let Some(last) = segments.last().filter(|last| last.has_room()) {
            return Some(last.clone());
        }
        if segments.len() >= SEGMENTS_MAX {
            self.is_full.store(true, Relaxed);
            return None;
        }
        let exponent = u32::try_from(segments.len()).expect("there are few segments");
        let segment = Arc::new(Segment::new(FIRST_KEYS * GROWTH.pow(exponent)));
        segments.push(segment.clone());
        Some(segment)
    }
}

impl Segment {
    fn new(keys_max: usize) -> Self {
        let blocks = (keys_max * KEY_BITS).div_ceil(BLOCK_WORDS * 64);
        let blocks = (0..blocks).map(|_| Default::default()).collect();
        Self { blocks, keys: AtomicUsize::new(0), keys_max }
    }

    fn has_room(&self) -> bool {
        self.keys.load(Relaxed) < self.keys_max
    }

    /// The block of a key. The upper bits choose it, the lower ones the bits in it.
    fn block(&self, hash: u64) -> &[AtomicU64; BLOCK_WORDS] {
        let product = u128::from(hash) * self.blocks.len() as u128;
        &self.blocks[(product >> 64) as usize]
    }

    fn may_contain(&self, hash: u64) -> bool {
        let block = self.block(hash);
        probes(hash).all(|(word, bit)| block[word].load(Relaxed) & bit != 0)
    }

    fn insert(&self, hash: u64) {
        let block = self.block(hash);
        probes(hash).for_each(|(word, bit)| {
            block[word].fetch_or(bit, Relaxed);
        });
        self.keys.fetch_add(1, Relaxed);
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
        let filter = Filter::default();
        filter.complete();
        let keys = 2_000_000;
        filter.insert_all((0..keys).map(hash));
        assert!((0..keys).all(|key| filter.may_contain(hash(key))));
        let passed = (keys..2 * keys).filter(|key| filter.may_contain(hash(*key))).count();
        assert!(passed < 2 * keys as usize / 50, "{passed} of {keys}");
        assert_eq!(filter.segments.read().len(), 3);
    }

    #[test]
    fn an_incomplete_or_full_filter_lets_everything_pass() {
        let filter = Filter::default();
        assert!(filter.may_contain(hash(1)));
        filter.complete();
        assert!(!filter.may_contain(hash(1)));
        for _ in 0..SEGMENTS_MAX {
            let full =
                Segment { blocks: Box::new([Default::default()]), keys: 1.into(), keys_max: 1 };
            filter.segments.write().push(Arc::new(full));
        }
        assert!(!filter.may_contain(hash(1)));
        filter.insert_all([hash(2)].into_iter());
        assert!((0..1_000).all(|key| filter.may_contain(hash(key))));
    }
}
