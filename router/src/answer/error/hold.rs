//! Refusals that have to do with holds.

use std::time::Duration;

use coupon_proto::internal::Refusal;
use coupon_proto::reason::Reason;
use tonic::Code;

use super::Report;
use crate::answer::convert::timestamp;

/// The least and the most time after which to ask again where quota is held: a hold may be released or confirmed long
/// before it expires.
const HELD_RETRY_MIN: Duration = Duration::from_millis(100);
const HELD_RETRY_MAX: Duration = Duration::from_secs(10);

pub(super) fn quota_held(refusal: &Refusal) -> Report {
    let message = "all coupons that are left are held: try again later";
    Report::new(Code::FailedPrecondition, Reason::QuotaHeld, message)
        .with("server_time", timestamp(refusal.log_time_micros))
        .retry_after(retry_after(refusal))
}

pub(super) fn too_many(refusal: &Refusal) -> Report {
    let message = "too many open holds: try again later";
    Report::new(Code::FailedPrecondition, Reason::TooManyHolds, message)
        .with("server_time", timestamp(refusal.log_time_micros))
        .retry_after(retry_after(refusal))
}

/// The time until the first hold expires, within bounds.
fn retry_after(refusal: &Refusal) -> Duration {
    let left = refusal.time_micros.saturating_sub(refusal.log_time_micros);
    Duration::from_micros(left).clamp(HELD_RETRY_MIN, HELD_RETRY_MAX)
}

pub(super) fn not_found() -> Report {
    let message = "no hold with this id; a hold is forgotten a day after its end";
    Report::new(Code::NotFound, Reason::HoldNotFound, message)
}

pub(super) fn expired(refusal: &Refusal) -> Report {
    let message = "the hold has expired: make another one";
    Report::new(Code::FailedPrecondition, Reason::HoldExpired, message)
        .with("expire_time", timestamp(refusal.time_micros))
        .with("server_time", timestamp(refusal.log_time_micros))
}

pub(super) fn confirmed(refusal: &Refusal) -> Report {
    let message = "the hold was confirmed by another request";
    Report::new(Code::FailedPrecondition, Reason::HoldConfirmed, message)
        .with("confirm_time", timestamp(refusal.time_micros))
}

pub(super) fn released(refusal: &Refusal) -> Report {
    let message = "the hold was released by another request";
    Report::new(Code::FailedPrecondition, Reason::HoldReleased, message)
        .with("release_time", timestamp(refusal.time_micros))
}

pub(super) fn open(refusal: &Refusal) -> Report {
    let message = "the campaign has open holds: wait until they are confirmed, released or expired";
    Report::new(Code::FailedPrecondition, Reason::HoldsOpen, message)
        .with("held", refusal.open_holds)
}

#[cfg(test)]
mod tests {
    use coupon_proto::internal::RefusalReason;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::answer::error::{Fault, Refused};

    #[test]
    fn held_quota_says_when_to_come_back() {
        let table = [(0, 100), (1_000_050, 100), (1_500_000, 500), (90_000_000, 10_000)];
        for (until, expected) in table {
            let refusal = Refusal {
                reason: RefusalReason::QuotaHeld.into(),
                time_micros: until,
                log_time_micros: 1_000_000,
                ..Default::default()
            };
            let (held_codes, held_states) = (Vec::new(), Vec::new());
            let refused = Refused { refusal, held_codes, held_states };
            let status = Fault::Refused(Box::new(refused)).into_status();
            let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
            assert_eq!(retry, Some(Duration::from_millis(expected)), "{until}");
        }
    }
}
