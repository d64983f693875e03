//! Page tokens: where a listing goes on (AIP-158). Pure.
//!
//! Garbage, a token of another listing, and a token from before the ring changed are refused. After such a change
//! campaigns may be on other shards, and going on would show some twice and others never.

use coupon_cluster::{CampaignName, Epoch, ShardId};
use coupon_proto::internal::CouponPlace;

use super::check;
use super::token::{self, checksum_of};

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
    /// A listing of campaigns: the last one shown; empty: none of the shard.
    #[prost(string, tag = "4")]
    pub(crate) after_campaign_id: String,
    /// A listing of coupons: the place of the last one shown; unset: none of the shard.
    #[prost(message, optional, tag = "5")]
    pub(crate) after_place: Option<CouponPlace>,
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
            after_place: None,
        }
    }

    /// The shard to go on with.
    pub(crate) fn shard(&self) -> ShardId {
        ShardId::new(self.shard).expect("cursors are made of shard ids, and tokens are checked")
    }

    /// As a token.
    pub(crate) fn to_token(&self) -> String {
        token::to_token(self)
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
        let cursor: Self = token::from_token(token).ok_or(GARBAGE)?;
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
        fn tokens_come_back_as_they_went(
            shard in 0..=1023_u32,
            after in "([a-z][a-z0-9]{0,62})?",
            place: Option<(u32, u64)>,
        ) {
            let mut cursor = cursor(shard);
            cursor.after_campaign_id = after;
            cursor.after_place = place
                .map(|(campaign_number, sequence)| CouponPlace { campaign_number, sequence });
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
