//! Page tokens: where a listing goes on (AIP-158). Pure.
//!
//! A token is opaque to clients and checked when it comes back: garbage, a token of another listing,
//! and a token from before the ring changed are refused. After such a change campaigns may be on
//! other shards, and going on would show some twice and others never.

use coupon_cluster::{CampaignName, Epoch, ShardId};
use prost::Message as _;

use super::check;

/// Where a listing goes on: in `shard`, after the item named.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Cursor {
    /// The epoch of the ring that the listing follows.
    #[prost(uint64, tag = "1")]
    epoch: u64,
    /// Which listing it is: a checksum of the question.
    #[prost(fixed32, tag = "2")]
    question: u32,
    /// The shard to go on with.
    #[prost(uint32, tag = "3")]
    shard: u32,
    /// The last campaign shown; empty: none of the shard.
    #[prost(string, tag = "4")]
    pub(crate) after_campaign_id: String,
    /// The sequence number of the last coupon shown.
    #[prost(uint64, tag = "5")]
    pub(crate) after_sequence: u64,
}

/// Why a token is refused: the text of a field violation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadToken(pub(crate) &'static str);

impl Cursor {
    /// The beginning of `shard`, in a listing for `question`.
    pub(crate) fn new(epoch: Epoch, shard: ShardId, question: &[&str]) -> Self {
        Self {
            epoch: epoch.get(),
            question: checksum_of(question),
            shard: shard.get(),
            after_campaign_id: String::new(),
            after_sequence: 0,
        }
    }

    /// The shard to go on with.
    pub(crate) fn shard(&self) -> ShardId {
        ShardId::new(self.shard).expect("cursors are made of shard ids, and tokens are checked")
    }

    /// As a token.
    pub(crate) fn to_token(&self) -> String {
        let mut bytes = self.encode_to_vec();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads a token of a listing for `question` by the ring of `epoch`.
    ///
    /// # Errors
    /// [`BadToken`] when it is none, or one of another listing or ring.
    pub(crate) fn from_token(
        token: &str,
        epoch: Epoch,
        question: &[&str],
    ) -> Result<Self, BadToken> {
        const GARBAGE: BadToken = BadToken("must be the next_page_token of an earlier answer");
        let bytes = from_hex(token).ok_or(GARBAGE)?;
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(GARBAGE)?;
        if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
            return Err(GARBAGE);
        }
        let cursor = Self::decode(content).map_err(|_| GARBAGE)?;
        let after = &cursor.after_campaign_id;
        let names_a_campaign =
            after.is_empty() || CampaignName::new(check::tenant(), after).is_ok();
        if ShardId::new(cursor.shard).is_err() || !names_a_campaign {
            return Err(GARBAGE);
        }
        if cursor.question != checksum_of(question) {
            return Err(BadToken("must come with the fields of the request that it answered"));
        }
        if cursor.epoch != epoch.get() {
            return Err(BadToken("is outdated, since shards were added: list from the beginning"));
        }
        Ok(cursor)
    }
}

fn checksum_of(question: &[&str]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    for part in question {
        checksum.update(part.as_bytes());
        // No part holds this byte, so that two lists of parts never run together alike.
        checksum.update(&[0xff]);
    }
    checksum.finalize()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn cursor(shard: u32) -> Cursor {
        let shard = ShardId::new(shard).expect("the shard id is small");
        Cursor::new(EPOCH, shard, &["coupons", "c", "r"])
    }

    proptest! {
        #[test]
        fn tokens_come_back_as_they_went(shard in 0..=1023_u32, after in "([a-z][a-z0-9]{0,62})?", sequence: u64) {
            let mut cursor = cursor(shard);
            (cursor.after_campaign_id, cursor.after_sequence) = (after, sequence);
            let read = Cursor::from_token(&cursor.to_token(), EPOCH, &["coupons", "c", "r"]);
            prop_assert_eq!(read, Ok(cursor));
        }

        #[test]
        fn garbage_is_refused(garbage in ".*") {
            prop_assert!(Cursor::from_token(&garbage, EPOCH, &[]).is_err());
        }

        #[test]
        fn a_changed_digit_is_noticed(at: prop::sample::Index, digit in "[0-9a-f]") {
            let token = cursor(5).to_token();
            let at = at.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(at..=at, &digit);
            let read = Cursor::from_token(&changed, EPOCH, &["coupons", "c", "r"]);
            prop_assert_eq!(read.is_ok(), changed == token);
        }
    }

    #[test]
    fn a_token_names_a_campaign_or_none() {
        let mut forged = cursor(1);
        forged.after_campaign_id = "A B".to_owned();
        let read = Cursor::from_token(&forged.to_token(), EPOCH, &["coupons", "c", "r"]);
        assert!(read.is_err());
    }

    #[test]
    fn tokens_belong_to_one_listing_and_one_ring() {
        let token = cursor(1).to_token();
        assert!(Cursor::from_token(&token, EPOCH, &["coupons", "c", ""]).is_err());
        assert!(Cursor::from_token(&token, EPOCH, &["coupons", "cr", ""]).is_err());
        assert!(Cursor::from_token(&token, Epoch(8), &["coupons", "c", "r"]).is_err());
    }
}
