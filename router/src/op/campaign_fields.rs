//! The shape of the fields of a campaign, for those operations that set them. Pure.

use std::collections::BTreeMap;

use coupon_proto::limits::{LABELS_MAX, PER_RECIPIENT_LIMIT_MAX, QUOTA_MAX};
use prost_types::Timestamp;

use super::check::Check;

impl Check {
    /// The quota.
    pub(super) fn quota(&mut self, quota: i64) -> u64 {
        self.range("quota", quota, 1, QUOTA_MAX);
        quota.unsigned_abs()
    }

    /// The limit per recipient; 0: no limit.
    pub(super) fn per_recipient_limit(&mut self, limit: i32) -> u32 {
        self.range("per_recipient_limit", limit.into(), 0, PER_RECIPIENT_LIMIT_MAX.into());
        limit.unsigned_abs()
    }

    /// Checks labels.
    pub(super) fn labels(&mut self, labels: &BTreeMap<String, String>) {
        self.map("labels", labels, LABELS_MAX);
    }

    /// The start in microseconds; 0: at once.
    pub(super) fn start_time(&mut self, time: Option<&Timestamp>) -> u64 {
        let micros = self.time("start_time", time);
        if micros == Some(0) {
            // At 0 it would mean "at once" further on.
            self.fail("start_time", "must be after 1970-01-01T00:00:00Z");
        }
        micros.unwrap_or(0)
    }

    /// The end in microseconds; 0: no end. It must be after the start, as far as that is known.
    pub(super) fn end_time(&mut self, time: Option<&Timestamp>, start_micros: u64) -> u64 {
        let micros = self.time("end_time", time);
        if micros.is_some_and(|end| end <= start_micros) {
            // At 0 it would mean "no end" further on, which is not what was asked for.
            self.fail("end_time", "must be after start_time and after 1970");
        }
        micros.unwrap_or(0)
    }
}
