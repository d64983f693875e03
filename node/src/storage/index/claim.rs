//! The rows of the index: claims that a key belongs to a coupon.

use std::hash::Hasher as _;

use coupon_cluster::RequestId;
use siphasher::sip::SipHasher13;

/// A request id or recipient, as its hash, in a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The [hash](KeyHasher) of the request id or recipient. It does not depend on the campaign, so that what a
    /// recipient holds stands together.
    pub(super) hash: u64,
    /// The number of the campaign.
    pub(super) number: u32,
}

impl Key {
    /// A hash of both fields.
    pub(super) fn filter_hash(self) -> u64 {
        // The hash is uniform already; another campaign must only lead elsewhere (golden ratio).
        self.hash ^ u64::from(self.number).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// An entry of the index: the key may belong to the coupon with this sequence number. Another key can have the same
/// hash, so a reader checks the coupon itself.
///
/// Claims are ordered by their fields in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// The key.
    pub(super) key: Key,
    /// The sequence number of the coupon.
    pub(super) sequence: u32,
}

/// Size of a claim in a table.
pub(super) const CLAIM_BYTES: usize = 16;

impl Claim {
    /// The least claim.
    pub(super) const FIRST: Self = Self { key: Key { hash: 0, number: 0 }, sequence: 0 };

    /// The claim as its fields in big-endian, which sort as claims do.
    pub(super) fn to_bytes(self) -> [u8; CLAIM_BYTES] {
        let Key { hash, number } = self.key;
        let place = u64::from(number) << 32 | u64::from(self.sequence);
        (u128::from(hash) << 64 | u128::from(place)).to_be_bytes()
    }

    /// The claim in [these bytes](Self::to_bytes).
    pub(super) fn from_bytes(bytes: [u8; CLAIM_BYTES]) -> Self {
        let [hash, place] = [0, 8].map(|at| {
            let half = bytes[at..].first_chunk().expect("a claim has two halves");
            u64::from_be_bytes(*half)
        });
        let [number, sequence] = [place >> 32, place & u64::from(u32::MAX)]
            .map(|half| u32::try_from(half).expect("32 bits are left"));
        Self { key: Key { hash, number }, sequence }
    }
}

/// A sequence number as a claim has it.
///
/// # Panics
///
/// When it is above [`coupon_ledger::SEQUENCE_MAX`].
pub(super) fn narrow(sequence: u64) -> u32 {
    u32::try_from(sequence).expect("the ledger assigns no such sequence number")
}

/// Hashes keys with a secret, so that callers cannot choose keys whose hashes collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHasher(SipHasher13);

/// Size of the secret.
pub(super) const SECRET_BYTES: usize = 16;

const REQUEST: u8 = b'Q';
const RECIPIENT: u8 = b'P';

impl KeyHasher {
    /// A hasher with this secret.
    pub(super) fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        Self(SipHasher13::new_with_key(secret))
    }

    /// The key of a request in a campaign.
    pub(super) fn request(&self, number: u32, request: &RequestId) -> Key {
        Key { hash: self.hash(REQUEST, request.as_bytes()), number }
    }

    /// The key of a recipient in a campaign. Keys of a recipient in other campaigns have the same hash.
    pub(super) fn recipient(&self, number: u32, recipient: &str) -> Key {
        Key { hash: self.hash(RECIPIENT, recipient.as_bytes()), number }
    }

    fn hash(&self, kind: u8, bytes: &[u8]) -> u64 {
        let mut hasher = self.0;
        hasher.write(&[kind]);
        hasher.write(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_of_claims_come_back_and_sort_as_claims(
            a: (u64, u32, u32), b: (u64, u32, u32),
        ) {
            let [a, b] = [a, b].map(|(hash, number, sequence)| {
                Claim { key: Key { hash, number }, sequence }
            });
            prop_assert_eq!(Claim::from_bytes(a.to_bytes()), a);
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        }
    }

    /// Hashes are on disk: they must be the same in every build.
    #[test]
    fn hashes_do_not_change() {
        let hasher = KeyHasher::new(&[7; SECRET_BYTES]);
        let request = RequestId::from_bytes(&[1; 16]).unwrap();
        let keys =
            [hasher.request(3, &request), hasher.recipient(3, "지원"), hasher.recipient(3, "")];
        let golden =
            [7_169_193_021_687_632_324, 16_508_122_357_069_774_191, 17_467_269_672_012_902_694];
        assert_eq!(keys.map(|key| key.hash), golden);
    }
}
