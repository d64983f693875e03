//! Requests that were never sent before, and an answer of the usual size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coupon_proto::v1;
use prost_types::Timestamp;
use uuid::{Builder, Uuid};

/// Makes requests for one campaign, each with a recipient and a request id of its own.
///
/// Both look random, since keys in order would be easier on a database than those of real callers.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    campaign_id: Arc<str>,
    salt: u64,
    next: Arc<AtomicU64>,
}

impl Requests {
    /// Requests for a campaign.
    pub(crate) fn new(campaign_id: &str) -> Self {
        let (salt, _) = Uuid::new_v4().as_u64_pair();
        Self { campaign_id: campaign_id.into(), salt, next: Arc::default() }
    }

    /// The next one.
    pub(crate) fn next(&self) -> v1::IssueCouponRequest {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        v1::IssueCouponRequest {
            campaign_id: self.campaign_id.to_string(),
            recipient: self.recipient(number),
            request_id: self.request_id(number),
            ..v1::IssueCouponRequest::default()
        }
    }

    /// 16 characters. [`scramble`] never returns the same for two numbers.
    fn recipient(&self, number: u64) -> String {
        format!("{:016x}", scramble(number ^ self.salt))
    }

    fn request_id(&self, number: u64) -> String {
        let high = scramble(number.wrapping_add(self.salt));
        let low = scramble(high ^ number);
        let bytes = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
        Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// Campaign of the requests to peers, which do not read it: as long as the ids of Coupon's campaigns.
pub(crate) const PEER_CAMPAIGN: &str = "bench-00-0000000000000000";

/// Spreads numbers over all numbers, one to one (the last step of SplitMix64).
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An answer as large as those of Coupon.
pub(crate) fn usual_answer() -> v1::IssueCouponResponse {
    let coupon = v1::Coupon {
        campaign_id: PEER_CAMPAIGN.to_owned(),
        code: "12가나다라마바사아".to_owned(),
        sequence: 100_000,
        recipient: "0123456789abcdef".to_owned(),
        state: v1::CouponState::Issued.into(),
        issue_time: Some(Timestamp { seconds: 1_893_456_000, nanos: 123_456_000 }),
        request_id: "01234567-89ab-4cde-8f01-23456789abcd".to_owned(),
        ..v1::Coupon::default()
    };
    v1::IssueCouponResponse { coupon: Some(coupon), replayed: false }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn requests_are_never_the_same() {
        let requests = Requests::new("c");
        let made: Vec<v1::IssueCouponRequest> = (0..10_000).map(|_| requests.next()).collect();
        let recipients: BTreeSet<&str> = made.iter().map(|one| one.recipient.as_str()).collect();
        let ids: BTreeSet<Uuid> = made.iter().map(|one| one.request_id.parse().unwrap()).collect();
        assert_eq!((recipients.len(), ids.len()), (made.len(), made.len()));
        assert!(recipients.iter().all(|recipient| recipient.len() == 16));
    }
}
