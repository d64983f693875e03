//! A coupon: one issued item of a campaign.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, CodeScheme, KeyId, RequestId, ShardId, TenantId};

use crate::LogTime;

/// Maximum sequence number of a coupon. Indexes keep 32 bits of it; no quota comes close.
pub const SEQUENCE_MAX: u64 = u32::MAX as u64;

/// What the ledger keeps of a coupon, under its campaign and sequence number.
///
/// A code that the campaign makes is not kept: it is a function of the counter and of the campaign's shard, key and
/// scheme, and computing it is left to whoever shows the coupon to people.
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
    /// Its code, if the codes of its campaign are imported: the one at its place.
    pub imported_code: Option<String>,
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
    /// What it is by now.
    pub state: CouponState,
}

/// What a code stands for. It names a coupon, if there is one, to the tenant whose coupon it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeNumber {
    /// The tenant that asks.
    pub tenant: TenantId,
    /// The shard that issued the coupon.
    pub shard: ShardId,
    /// The key that the code is made with.
    pub key: KeyId,
    /// The counter in that shard.
    pub counter: u64,
    /// Profile, length and prefix of the code as they were read.
    pub scheme: CodeScheme,
}

/// What a caller names a coupon by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CouponCode {
    /// A code that a campaign made, and that leads to it.
    Generated(CodeNumber),
    /// A code of a campaign that the caller names too.
    OfCampaign(CampaignCode),
}

impl From<CodeNumber> for CouponCode {
    fn from(code: CodeNumber) -> Self {
        Self::Generated(code)
    }
}

/// A code of a campaign that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignCode {
    /// The campaign.
    pub campaign: CampaignName,
    /// The code as it was imported, if the campaign's codes are imported.
    pub text: String,
    /// What the code stands for, if the campaign makes its codes; `None`: it is none of those.
    pub number: Option<CodeNumber>,
}

/// What a coupon is by now. Whether it is past its end follows from the time, and is never written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CouponState {
    /// Issued, not used yet.
    #[default]
    Issued,
    /// Used.
    Redeemed {
        /// When.
        at: LogTime,
        /// For which order, in the words of the caller.
        order_ref: String,
    },
    /// Cancelled for ever.
    Voided {
        /// When.
        at: LogTime,
        /// Why, in the words of the caller.
        reason: String,
        /// Whether another coupon may be issued in its place.
        quota_returned: bool,
    },
}

impl CouponState {
    /// Whether another coupon may be issued in its place.
    #[must_use]
    pub fn has_returned_quota(&self) -> bool {
        match self {
            Self::Voided { quota_returned, .. } => *quota_returned,
            Self::Issued | Self::Redeemed { .. } => false,
        }
    }

    /// Its name in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Issued => "ISSUED",
            Self::Redeemed { .. } => "REDEEMED",
            Self::Voided { .. } => "VOIDED",
        }
    }
}
