//! A coupon: one issued item of a campaign.

use std::collections::BTreeMap;

use coupon_cluster::{CodeScheme, KeyId, RequestId, ShardId};

use crate::LogTime;

/// Maximum sequence number of a coupon. Indexes keep 32 bits of it; no quota comes close.
pub const SEQUENCE_MAX: u64 = u32::MAX as u64;

/// What the ledger keeps of a coupon, under its campaign and sequence number.
///
/// The code is not kept: it is a function of the counter and of the campaign's shard, key and scheme, and
/// computing it is left to whoever shows the coupon to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// The counter that the code is made of, unique in the shard for ever.
    pub counter: u64,
    /// The holder's external id; may be empty where the campaign has no limit per recipient.
    pub recipient: String,
    /// The request that issued the coupon.
    pub request_id: RequestId,
    /// When the coupon was issued.
    pub issued_at: LogTime,
    /// From when on the coupon cannot be used; `None`: never.
    pub expires_at: Option<LogTime>,
    /// What the caller attached.
    pub metadata: BTreeMap<String, String>,
}

/// A coupon with everything an answer needs to name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCoupon {
    /// The coupon.
    pub coupon: Coupon,
    /// Its place in the campaign: from 1, without gaps, in the order of issuance.
    pub sequence: u64,
    /// The shard whose counter the code is made of.
    pub code_shard: ShardId,
    /// The key the code is made with.
    pub code_key: KeyId,
    /// Profile, length and prefix of the code.
    pub code_scheme: CodeScheme,
}
