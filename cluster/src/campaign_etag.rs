//! Entity tags of campaigns (AIP-154).

/// The entity tag of a campaign. Each change by an administrator gives it a new one; coupons do not.
///
/// `updated_revision` is the revision that the latest change made, and `updated_micros` its log time. The time is
/// part of the tag because a cluster that is restored from a backup comes to old revisions again.
#[must_use]
pub fn campaign_etag(updated_revision: u64, updated_micros: u64) -> String {
    format!("{updated_revision:x}-{updated_micros:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_makes_another_tag() {
        assert_eq!(campaign_etag(1, 1_000), "1-3e8");
        assert_ne!(campaign_etag(2, 1_000), campaign_etag(1, 1_000));
        assert_ne!(campaign_etag(1, 1_001), campaign_etag(1, 1_000));
    }
}
