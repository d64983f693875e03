//! Bounds of the fields of requests: said once for the router that checks them and for its callers.

/// Maximum quota of a campaign.
pub const QUOTA_MAX: i64 = 1_000_000_000;

/// Maximum number of coupons that a campaign with a limit lets a recipient hold.
pub const PER_RECIPIENT_LIMIT_MAX: i32 = 100;

/// Maximum number of labels of a campaign.
pub const LABELS_MAX: usize = 32;

/// Maximum number of entries of metadata of a coupon.
pub const METADATA_MAX: usize = 16;

/// Maximum number of requests in a batch.
pub const BATCH_MAX: usize = 1_000;
