//! Codes, reasons and details of errors.

use tonic_types::StatusExt as _;

use super::*;

fn refusal(reason: RefusalReason) -> Fault {
    let refusal = Refusal { reason: reason.into(), ..Default::default() };
    let (held_codes, held_states) = (Vec::new(), Vec::new());
    Fault::Refused(Box::new(Refused { refusal, held_codes, held_states }))
}

/// The reasons of the public contract with their codes, each once.
#[test]
fn refusals_have_the_codes_and_reasons_of_the_contract() {
    let table = [
        (RefusalReason::NotStarted, Code::FailedPrecondition, "NOT_STARTED"),
        (RefusalReason::Ended, Code::FailedPrecondition, "ENDED"),
        (RefusalReason::SoldOut, Code::FailedPrecondition, "SOLD_OUT"),
        (RefusalReason::OutOfCodes, Code::FailedPrecondition, "OUT_OF_CODES"),
        (RefusalReason::RecipientLimitReached, Code::AlreadyExists, "RECIPIENT_LIMIT_REACHED"),
        (RefusalReason::RecipientRequired, Code::InvalidArgument, "RECIPIENT_REQUIRED"),
        (RefusalReason::CampaignExists, Code::AlreadyExists, "CAMPAIGN_EXISTS"),
        (RefusalReason::CampaignNotFound, Code::NotFound, "CAMPAIGN_NOT_FOUND"),
        (RefusalReason::EmptyWindow, Code::InvalidArgument, "FIELD_VIOLATIONS"),
        (RefusalReason::CampaignDeleted, Code::AlreadyExists, "CAMPAIGN_DELETED"),
        (RefusalReason::Archived, Code::FailedPrecondition, "ARCHIVED"),
        (RefusalReason::NotEnded, Code::FailedPrecondition, "NOT_ENDED"),
        (RefusalReason::NotArchived, Code::FailedPrecondition, "NOT_ARCHIVED"),
        (RefusalReason::EndInPast, Code::InvalidArgument, "END_TIME_IN_PAST"),
        (RefusalReason::AlreadyStarted, Code::FailedPrecondition, "ALREADY_STARTED"),
        (RefusalReason::QuotaBelowIssued, Code::FailedPrecondition, "QUOTA_BELOW_ISSUED"),
        (RefusalReason::EtagMismatch, Code::Aborted, "ETAG_MISMATCH"),
        (RefusalReason::RevisionGone, Code::Aborted, "REVISION_GONE"),
        (RefusalReason::PerRecipientLimitFixed, Code::InvalidArgument, "FIELD_VIOLATIONS"),
        (RefusalReason::CouponTtlFixed, Code::InvalidArgument, "FIELD_VIOLATIONS"),
        (RefusalReason::CouponNotFound, Code::NotFound, "COUPON_NOT_FOUND"),
        (RefusalReason::AlreadyRedeemed, Code::FailedPrecondition, "ALREADY_REDEEMED"),
        (RefusalReason::CouponVoided, Code::FailedPrecondition, "COUPON_VOIDED"),
        (RefusalReason::CouponExpired, Code::FailedPrecondition, "COUPON_EXPIRED"),
        (RefusalReason::NotRedeemed, Code::FailedPrecondition, "NOT_REDEEMED"),
        (RefusalReason::QuotaHeld, Code::FailedPrecondition, "QUOTA_HELD"),
        (RefusalReason::TooManyHolds, Code::FailedPrecondition, "TOO_MANY_HOLDS"),
        (RefusalReason::HoldNotFound, Code::NotFound, "HOLD_NOT_FOUND"),
        (RefusalReason::HoldExpired, Code::FailedPrecondition, "HOLD_EXPIRED"),
        (RefusalReason::HoldConfirmed, Code::FailedPrecondition, "HOLD_CONFIRMED"),
        (RefusalReason::HoldReleased, Code::FailedPrecondition, "HOLD_RELEASED"),
        (RefusalReason::HoldsOpen, Code::FailedPrecondition, "HOLDS_OPEN"),
        (RefusalReason::CodesNotImported, Code::FailedPrecondition, "CODES_NOT_IMPORTED"),
        (RefusalReason::ImportLinesMissing, Code::FailedPrecondition, "IMPORT_LINES_MISSING"),
        (RefusalReason::TooManyImports, Code::FailedPrecondition, "TOO_MANY_IMPORTS"),
        (RefusalReason::RequestIdReused, Code::InvalidArgument, "REQUEST_ID_REUSED"),
        (RefusalReason::ShardFull, Code::FailedPrecondition, "SHARD_FULL"),
        (RefusalReason::StaleEpoch, Code::Unavailable, "NO_LEADER"),
        (RefusalReason::NotOwner, Code::Unavailable, "NO_LEADER"),
        (RefusalReason::Unspecified, Code::Internal, "INTERNAL"),
    ];
    for (reason, code, name) in table {
        let status = refusal(reason).into_status();
        let info = status.get_details_error_info().expect("every error has an ErrorInfo");
        assert_eq!((status.code(), info.reason.as_str()), (code, name));
        assert_eq!(info.domain, DOMAIN);
    }
}

#[test]
fn not_started_says_when_it_starts_and_what_time_it_is() {
    let refusal = Refusal {
        reason: RefusalReason::NotStarted.into(),
        time_micros: 1_700_000_000_000_000,
        log_time_micros: 1_699_999_999_500_000,
        ..Default::default()
    };
    let (held_codes, held_states) = (Vec::new(), Vec::new());
    let refused = Refused { refusal, held_codes, held_states };
    let status = Fault::Refused(Box::new(refused)).into_status();
    assert_eq!(status.message(), "coupon issuance not started yet");
    let info = status.get_details_error_info().expect("every error has an ErrorInfo");
    assert_eq!(info.metadata["start_time"], "2023-11-14T22:13:20Z");
    assert_eq!(info.metadata["server_time"], "2023-11-14T22:13:19.500Z");
}

#[test]
fn unavailable_always_says_when_to_come_back() {
    for fault in [
        Fault::Unanswered(Unanswered::NoLeader),
        Fault::Unanswered(Unanswered::Overloaded),
        Fault::Unanswered(Unanswered::OutcomeUnknown),
        Fault::Overloaded,
        Fault::StreamBroken,
        Fault::StreamEnded,
    ] {
        let status = fault.into_status();
        assert_eq!(status.code(), Code::Unavailable);
        let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
        assert!(retry.is_some_and(|delay| !delay.is_zero()));
    }
}

#[test]
fn violations_name_their_fields() {
    let violations = vec![violation("quota", "must be at least 1"), violation("labels", "x")];
    let status = Fault::Invalid(violations).into_status();
    assert_eq!(status.message(), "quota: must be at least 1");
    let shown = status.get_details_bad_request().expect("violations are shown").field_violations;
    assert_eq!(shown.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["quota", "labels"]);
}
