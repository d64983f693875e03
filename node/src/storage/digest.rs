//! Digests of what a replica holds. Replicas of a shard at the same index have the same ones.
//!
//! - A `RowSum` is made of all rows, and so costs a look at all of them: for snapshots, and for people
//!   who ask.
//! - A `RunningDigest` is made of all that was ever written, as it is written, and is kept with the
//!   state. It costs a hash of every row once, so that replicas can compare themselves all the time.

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// SHA-256 over rows in the order of their keys, and their number.
#[derive(Default)]
pub(super) struct RowSum {
    sha: Sha256,
    count: u64,
}

impl RowSum {
    /// Adds the next row.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        add_row(&mut self.sha, key, value);
        self.count += 1;
    }

    /// The number of rows, and the digest.
    pub(super) fn finish(self) -> (u64, Digest) {
        (self.count, self.sha.finalize().into())
    }
}

/// After each log entry: SHA-256 over itself as it was before, and over everything that the entry wrote,
/// in order.
pub(super) struct RunningDigest {
    value: Digest,
    entry: Sha256,
}

impl RunningDigest {
    /// Goes on from what it was after an entry.
    pub(super) fn resume(value: Digest) -> Self {
        Self { value, entry: Sha256::new_with_prefix(value) }
    }

    /// What it is after the last whole entry.
    pub(super) fn value(&self) -> Digest {
        self.value
    }

    /// The entry wrote a row.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        add_row(&mut self.entry, key, value);
    }

    /// The entry has written all its rows.
    pub(super) fn end_entry(&mut self) {
        *self = Self::resume(self.entry.finalize_reset().into());
    }
}

/// Adds a row in a way that no two different lists of rows share.
fn add_row(sha: &mut Sha256, key: &[u8], value: &[u8]) {
    for part in [key, value] {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
}
