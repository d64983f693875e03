//! The newest rows of an index, in memory.

use std::collections::HashMap;

use coupon_cluster::RequestId;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

/// Sequence numbers, ascending. Nearly all recipients hold one coupon of a campaign.
pub(in super::super) type Sequences = SmallVec<[u64; 2]>;

/// A campaign's number and a request id.
pub(super) type RequestKey = [u8; 20];

/// The newest rows of an index. Keys are those of the tables, without prefix and tag.
#[derive(Default)]
pub(in super::super) struct Delta {
    /// Request to sequence number.
    pub(super) requests: HashMap<RequestKey, u64, RandomState>,
    /// Recipient to everything held, in campaigns with a limit.
    pub(super) limited: HashMap<Box<[u8]>, Sequences, RandomState>,
    /// Recipient to what was issued since the rows on disk, in campaigns without a limit.
    pub(super) unlimited: HashMap<Box<[u8]>, Sequences, RandomState>,
    /// Campaign number to the last sequence number indexed.
    pub(super) through: HashMap<u32, u64, RandomState>,
    rows: usize,
}

/// A coupon as the index sees it.
pub(super) struct Indexed<'a> {
    /// The number of its campaign.
    pub(super) number: u32,
    /// Its sequence number.
    pub(super) sequence: u64,
    /// The request that issued it.
    pub(super) request: RequestId,
    /// Its recipient; may be empty.
    pub(super) recipient: &'a str,
}

impl Delta {
    /// Forgets its rows and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.limited.clear();
        self.unlimited.clear();
        self.through.clear();
        self.rows = 0;
    }

    /// The number of rows that it becomes on disk.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a coupon, of a campaign with a limit if `held` says what else the recipient holds.
    pub(super) fn insert(&mut self, coupon: &Indexed<'_>, held: Option<Sequences>) {
        let Indexed { number, sequence, request, recipient } = *coupon;
        self.requests.insert(request_key(number, &request), sequence);
        self.rows += 1;
        if let Some(mut held) = held {
            held.push(sequence);
            self.limited.insert(limited_key(number, recipient)[..].into(), held);
            self.rows += 1;
        } else if !recipient.is_empty() {
            let key = unlimited_key(number, recipient)[..].into();
            self.unlimited.entry(key).or_default().push(sequence);
            self.rows += 1;
        }
        let through = self.through.entry(number).or_default();
        *through = sequence.max(*through);
    }
}

/// The key of a request.
pub(super) fn request_key(number: u32, request: &RequestId) -> RequestKey {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[4..].copy_from_slice(request.as_bytes());
    key
}

/// The key of a recipient in a campaign with a limit.
pub(super) fn limited_key(number: u32, recipient: &str) -> SmallVec<[u8; 64]> {
    let mut key = SmallVec::new();
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(recipient.as_bytes());
    key
}

/// The key of a recipient in a campaign without a limit. The length stands before the recipient, so that no
/// recipient is a prefix of another.
pub(super) fn unlimited_key(number: u32, recipient: &str) -> SmallVec<[u8; 64]> {
    let mut key = SmallVec::new();
    key.extend_from_slice(&number.to_be_bytes());
    let length = u16::try_from(recipient.len()).unwrap_or(u16::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(recipient.as_bytes());
    key
}
