//! Refusals that have to do with holds.

use std::time::Duration;

use coupon_proto::internal::Refusal;
use coupon_proto::reason::Reason;
use tonic::Code;

use super::Report;
use crate::answer::convert::timestamp;

/// Shortest time after which to ask again where quota is held.
const HELD_RETRY_MIN: Duration = Duration::from_millis(100);

/// Shortest time after which to ask again where there are too many holds. Then a hold that ends leaves room for one caller
/// of many.
const TOO_MANY_RETRY_MIN: Duration = Duration::from_secs(1);

/// Longest time after which to ask again: a hold may be released or confirmed long before it expires.
const RETRY_MAX: Duration = Duration::from_secs(10);

pub(super) fn quota_held(refusal: &Refusal) -> Report {
    let message = "all coupons that are left are held: try again later";
    Report::new(Code::FailedPrecondition, Reason::QuotaHeld, message)
        .with("server_time", timestamp(refusal.log_time_micros))
        .retry_after(retry_after(refusal, HELD_RETRY_MIN))
}

pub(super) fn too_many(refusal: &Refusal) -> Report {
    let message = "too many open holds: try again later";
    Report::new(Code::FailedPrecondition, Reason::TooManyHolds, message)
        .with("server_time", timestamp(refusal.log_time_micros))
        .retry_after(retry_after(refusal, TOO_MANY_RETRY_MIN))
}

/// The time until the first hold expires, within bounds.
fn retry_after(refusal: &Refusal, min: Duration) -> Duration {
    let left = refusal.time_micros.saturating_sub(refusal.log_time_micros);
    Duration::from_micros(left).clamp(min, RETRY_MAX)
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
    fn holds_say_when_to_come_back() {
        use RefusalReason::{QuotaHeld, TooManyHolds};
        for (reason, until, expected) in [
            (QuotaHeld, 0, 100),
            (QuotaHeld, 1_000_050, 100),
            (QuotaHeld, 1_500_000, 500),
            (QuotaHeld, 90_000_000, 10_000),
            (TooManyHolds, 0, 1_000),
            (TooManyHolds, 1_500_000, 1_000),
            (TooManyHolds, 4_000_000, 3_000),
            (TooManyHolds, 90_000_000, 10_000),
        ] {
            let refusal = Refusal {
                reason: reason.into(),
                time_micros: until,
                log_time_micros: 1_000_000,
                ..Default::default()
            };
            let (held_codes, held_states) = (Vec::new(), Vec::new());
            let refused = Refused { refusal, held_codes, held_states };
            let status = Fault::Refused(Box::new(refused)).into_status();
            let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
            assert_eq!(retry, Some(Duration::from_millis(expected)), "{reason:?} {until}");
        }
    }
}
