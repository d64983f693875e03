//! What an error means for the caller: whether the call had an effect, and whether to repeat it. Pure.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use coupon_proto::reason::Reason;
use tonic::Code;

/// What an error says about the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The call had no effect. The same request is refused again unless something else changes first, such
    /// as a campaign that is resumed.
    Refused,
    /// The campaign has not started, and the call had no effect. The same request may succeed after the
    /// start.
    NotStarted {
        /// When the campaign starts.
        start_time: Option<SystemTime>,
        /// Time from the answer to the start, by the server's clock.
        starts_in: Option<Duration>,
    },
    /// The call had no effect, for a reason that may pass: repeat it.
    RetryUnchanged,
    /// The call may have had an effect: repeat it with the same request id, to learn what came of it.
    RetryAmbiguous,
    /// It is not known whether the call had an effect, and repeating it at once does not help: a fault of
    /// the server, or the time for the call is over.
    Unknown,
}

impl Meaning {
    /// The meaning of an error with a reason.
    pub(crate) fn of_reason(reason: Reason, metadata: &HashMap<String, String>) -> Self {
        match reason {
            Reason::AlreadyRedeemed
            | Reason::AlreadyStarted
            | Reason::Archived
            | Reason::CampaignDeleted
            | Reason::CampaignExists
            | Reason::CampaignNotFound
            | Reason::CodeCheckFailed
            | Reason::CodeMalformed
            | Reason::CodesNotImported
            | Reason::OutOfCodes
            | Reason::CouponExpired
            | Reason::CouponNotFound
            | Reason::CouponVoided
            | Reason::EndTimeInPast
            | Reason::Ended
            | Reason::EtagMismatch
            | Reason::FieldViolations
            | Reason::HistoryChanged
            | Reason::HoldConfirmed
            | Reason::HoldExpired
            | Reason::HoldNotFound
            | Reason::HoldReleased
            | Reason::HoldsOpen
            | Reason::ImportLinesMissing
            | Reason::NotArchived
            | Reason::NotEnded
            | Reason::NotRedeemed
            | Reason::Paused
            | Reason::QuotaBelowIssued
            | Reason::QuotaHeld
            | Reason::RecipientLimitReached
            | Reason::RecipientRequired
            | Reason::RequestIdReused
            | Reason::RevisionGone
            | Reason::ShardDiverged
            | Reason::ShardFull
            | Reason::SoldOut
            | Reason::TooManyCoupons
            | Reason::TooManyHolds
            | Reason::TooManyImports => Self::Refused,
            Reason::NotStarted => not_started(metadata),
            // A stream only reads.
            Reason::NoLeader | Reason::Overloaded | Reason::StreamBroken => Self::RetryUnchanged,
            Reason::DeadlineExceeded | Reason::OutcomeUnknown => Self::RetryAmbiguous,
            Reason::Internal => Self::Unknown,
        }
    }

    /// The meaning of an error with a reason that this client does not know, as of a newer router.
    pub(crate) fn of_unknown_reason(code: Code) -> Self {
        if is_transient(code) {
            Self::RetryAmbiguous
        } else if is_definite(code) {
            Self::Refused
        } else {
            Self::Unknown
        }
    }

    /// The meaning of an error that no router made: it comes from a connection or a library.
    pub(crate) fn without_reason(code: Code) -> Self {
        // A connection that breaks shows as any of these, depending on what was under way on it; an answer that is
        // too large for the client as the last.
        if matches!(
            code,
            Code::Unknown | Code::Internal | Code::ResourceExhausted | Code::OutOfRange
        ) {
            return Self::RetryAmbiguous;
        }
        Self::of_unknown_reason(code)
    }

    /// Whether the same request is to be sent again.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RetryUnchanged | Self::RetryAmbiguous => true,
            Self::Refused | Self::NotStarted { .. } | Self::Unknown => false,
        }
    }

    /// Whether the call may have had an effect.
    #[must_use]
    pub fn may_have_happened(self) -> bool {
        match self {
            Self::RetryAmbiguous | Self::Unknown => true,
            Self::Refused | Self::NotStarted { .. } | Self::RetryUnchanged => false,
        }
    }
}

/// Whether an answer with this code may soon be another one, by the code alone: its sender is busy, late or
/// gone.
#[must_use]
pub fn is_transient(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// Whether a code says that the call had no effect.
fn is_definite(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
    )
}

fn not_started(metadata: &HashMap<String, String>) -> Meaning {
    let time = |key| humantime::parse_rfc3339(metadata.get(key)?).ok();
    let start_time = time("start_time");
    let starts_in = start_time.zip(time("server_time"));
    let starts_in = starts_in.and_then(|(start, server)| start.duration_since(server).ok());
    Meaning::NotStarted { start_time, starts_in }
}

/// Whether a refusal with this reason says that no earlier attempt of the same call had or will have an
/// effect. The ledger looks for the request id before it gives one of these reasons, and an attempt that is
/// still on its way will be refused for the same reason. Not so where another call may undo the reason before that
/// attempt arrives: quota can be returned or raised, and a redemption reversed.
pub(crate) fn settles_earlier_attempts(reason: Reason) -> bool {
    match reason {
        Reason::AlreadyStarted
        | Reason::Archived
        | Reason::CampaignDeleted
        | Reason::CampaignExists
        | Reason::CouponExpired
        | Reason::CouponVoided
        | Reason::EndTimeInPast
        | Reason::Ended
        | Reason::EtagMismatch
        | Reason::HoldConfirmed
        | Reason::HoldExpired
        | Reason::HoldReleased
        | Reason::RequestIdReused => true,
        Reason::AlreadyRedeemed
        | Reason::NotRedeemed
        | Reason::RecipientLimitReached
        | Reason::SoldOut
        | Reason::CampaignNotFound
        | Reason::CodeCheckFailed
        | Reason::CodeMalformed
        | Reason::CodesNotImported
        | Reason::OutOfCodes
        | Reason::CouponNotFound
        | Reason::DeadlineExceeded
        | Reason::FieldViolations
        | Reason::HistoryChanged
        | Reason::HoldNotFound
        | Reason::HoldsOpen
        | Reason::ImportLinesMissing
        | Reason::Internal
        | Reason::NoLeader
        | Reason::NotArchived
        | Reason::NotEnded
        | Reason::NotStarted
        | Reason::OutcomeUnknown
        | Reason::Overloaded
        | Reason::Paused
        | Reason::QuotaBelowIssued
        | Reason::QuotaHeld
        | Reason::RecipientRequired
        | Reason::RevisionGone
        | Reason::ShardDiverged
        | Reason::ShardFull
        | Reason::StreamBroken
        | Reason::TooManyCoupons
        | Reason::TooManyHolds
        | Reason::TooManyImports => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out, so that a reason that changes its meaning changes this table.
    #[test]
    fn every_reason_has_its_meaning() {
        let not_started = Meaning::NotStarted { start_time: None, starts_in: None };
        let table = [
            (Reason::AlreadyRedeemed, Meaning::Refused),
            (Reason::AlreadyStarted, Meaning::Refused),
            (Reason::Archived, Meaning::Refused),
            (Reason::CampaignDeleted, Meaning::Refused),
            (Reason::CampaignExists, Meaning::Refused),
            (Reason::CampaignNotFound, Meaning::Refused),
            (Reason::CodeCheckFailed, Meaning::Refused),
            (Reason::CodeMalformed, Meaning::Refused),
            (Reason::CodesNotImported, Meaning::Refused),
            (Reason::CouponExpired, Meaning::Refused),
            (Reason::CouponNotFound, Meaning::Refused),
            (Reason::CouponVoided, Meaning::Refused),
            (Reason::DeadlineExceeded, Meaning::RetryAmbiguous),
            (Reason::EndTimeInPast, Meaning::Refused),
            (Reason::Ended, Meaning::Refused),
            (Reason::EtagMismatch, Meaning::Refused),
            (Reason::FieldViolations, Meaning::Refused),
            (Reason::HistoryChanged, Meaning::Refused),
            (Reason::HoldConfirmed, Meaning::Refused),
            (Reason::HoldExpired, Meaning::Refused),
            (Reason::HoldNotFound, Meaning::Refused),
            (Reason::HoldReleased, Meaning::Refused),
            (Reason::HoldsOpen, Meaning::Refused),
            (Reason::ImportLinesMissing, Meaning::Refused),
            (Reason::Internal, Meaning::Unknown),
            (Reason::NoLeader, Meaning::RetryUnchanged),
            (Reason::NotArchived, Meaning::Refused),
            (Reason::NotEnded, Meaning::Refused),
            (Reason::NotRedeemed, Meaning::Refused),
            (Reason::NotStarted, not_started),
            (Reason::OutOfCodes, Meaning::Refused),
            (Reason::OutcomeUnknown, Meaning::RetryAmbiguous),
            (Reason::Overloaded, Meaning::RetryUnchanged),
            (Reason::Paused, Meaning::Refused),
            (Reason::QuotaBelowIssued, Meaning::Refused),
            (Reason::QuotaHeld, Meaning::Refused),
            (Reason::RecipientLimitReached, Meaning::Refused),
            (Reason::RecipientRequired, Meaning::Refused),
            (Reason::RequestIdReused, Meaning::Refused),
            (Reason::RevisionGone, Meaning::Refused),
            (Reason::ShardDiverged, Meaning::Refused),
            (Reason::ShardFull, Meaning::Refused),
            (Reason::SoldOut, Meaning::Refused),
            (Reason::StreamBroken, Meaning::RetryUnchanged),
            (Reason::TooManyCoupons, Meaning::Refused),
            (Reason::TooManyHolds, Meaning::Refused),
            (Reason::TooManyImports, Meaning::Refused),
        ];
        assert_eq!(table.map(|(reason, _)| reason), Reason::ALL);
        for (reason, meaning) in table {
            assert_eq!(Meaning::of_reason(reason, &HashMap::new()), meaning, "{reason:?}");
        }
    }

    #[test]
    fn without_a_reason_the_code_decides() {
        use Code::{
            Cancelled, DataLoss, DeadlineExceeded, Internal, InvalidArgument, NotFound, OutOfRange,
            ResourceExhausted, Unavailable, Unimplemented, Unknown,
        };
        let library = Meaning::without_reason;
        let lost = [
            Unavailable,
            DeadlineExceeded,
            Cancelled,
            Unknown,
            Internal,
            ResourceExhausted,
            OutOfRange,
        ];
        for code in lost {
            assert_eq!(library(code), Meaning::RetryAmbiguous, "{code:?}");
        }
        for code in [InvalidArgument, NotFound, Unimplemented] {
            assert_eq!(library(code), Meaning::Refused, "{code:?}");
        }
        assert_eq!(library(DataLoss), Meaning::Unknown);
        // A router that gives a reason has not lost the connection.
        assert_eq!(Meaning::of_unknown_reason(Internal), Meaning::Unknown);
        assert_eq!(Meaning::of_unknown_reason(Unavailable), Meaning::RetryAmbiguous);
    }

    #[test]
    fn not_started_says_how_long_to_wait() {
        let times =
            [("start_time", "2030-01-01T00:00:01.5Z"), ("server_time", "2030-01-01T00:00:01.250Z")];
        let metadata = times.map(|(key, time)| (key.to_owned(), time.to_owned())).into();
        let meaning = Meaning::of_reason(Reason::NotStarted, &metadata);
        let Meaning::NotStarted { start_time, starts_in } = meaning else { panic!("{meaning:?}") };
        assert_eq!(starts_in, Some(Duration::from_millis(250)));
        assert_eq!(start_time, humantime::parse_rfc3339(times[0].1).ok());
    }

    #[test]
    fn what_may_have_happened_is_never_a_refusal() {
        for reason in Reason::ALL {
            let meaning = Meaning::of_reason(reason, &HashMap::new());
            let is_refusal = meaning == Meaning::Refused;
            assert!(!(is_refusal && meaning.may_have_happened()), "{reason:?}");
            assert!(is_refusal || !settles_earlier_attempts(reason), "{reason:?}");
        }
    }
}
