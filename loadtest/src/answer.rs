//! What an answer means: for the caller, whether to ask again; for the checker, the outcome.

use std::borrow::Cow;
use std::time::Duration;

use coupon_checker::Outcome;
use coupon_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, RpcStatusExt as _, StatusExt as _, pb};

/// The name of an answer in counts: the reason of a refusal, or ISSUED, or UNKNOWN.
pub(crate) type Reason = Cow<'static, str>;

/// The name of an answer with a coupon.
pub(crate) const ISSUED: &str = "ISSUED";

/// The name of no answer, for which no attempt gave a reason.
pub(crate) const NO_ANSWER: &str = "NO_ANSWER";

/// The reason of a campaign that has no more coupons.
pub(crate) const SOLD_OUT: &str = "SOLD_OUT";

/// The reason of a campaign that has not started.
pub(crate) const NOT_STARTED: &str = "NOT_STARTED";

/// The reason of a router or shard that takes no more requests for now.
const OVERLOADED: &str = "OVERLOADED";

/// The reason of a router that finds nobody who leads the shard.
const NO_LEADER: &str = "NO_LEADER";

/// The error reason of a router for a shard that has two histories and is stopped.
const SHARD_DIVERGED: &str = "SHARD_DIVERGED";

/// Refusals that a campaign is expected to give. All others are errors.
const EXPECTED: [&str; 5] = [SOLD_OUT, NOT_STARTED, "ENDED", "PAUSED", "RECIPIENT_LIMIT_REACHED"];

/// What one attempt was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// This is what came of the call, if no earlier attempt may still have an effect.
    Final {
        /// For the checker.
        outcome: Outcome,
        /// For the counts.
        reason: Reason,
    },
    /// Not yet: the campaign starts in about so long.
    NotStarted {
        /// By the server's word.
        starts_in: Option<Duration>,
    },
    /// The same request is to be sent again.
    Again {
        /// For the counts.
        reason: Reason,
        /// When, if the server says so because it has too much to do.
        pause: Option<Duration>,
        /// Whether this attempt may have an effect all the same.
        may_have_happened: bool,
    },
}

/// Whether a call that ended so was served: it got a coupon, or a refusal that is due.
pub(crate) fn is_served(reason: &str) -> bool {
    reason == ISSUED || EXPECTED.contains(&reason)
}

/// The answer in a response.
pub(crate) fn of_response(response: v1::IssueCouponResponse) -> Answer {
    let v1::IssueCouponResponse { coupon, replayed } = response;
    let found = coupon.and_then(|coupon| Some((u64::try_from(coupon.sequence).ok()?, coupon.code)));
    match found {
        Some((sequence, code)) => Answer::Final {
            outcome: Outcome::Issued { sequence, code: code.into(), replayed },
            reason: ISSUED.into(),
        },
        None => Answer::Final { outcome: Outcome::Unknown, reason: "BROKEN_ANSWER".into() },
    }
}

/// The answer in the status of a call.
pub(crate) fn of_status(status: &Status) -> Answer {
    let pause = || status.get_details_retry_info().and_then(|info| info.retry_delay);
    answer(status.code(), status.get_details_error_info(), pause)
}

/// The answer in the status of a batch's item.
pub(crate) fn of_item(status: &pb::Status) -> Answer {
    let pause = || status.get_details_retry_info().and_then(|info| info.retry_delay);
    answer(Code::from_i32(status.code), status.get_details_error_info(), pause)
}

fn answer(code: Code, info: Option<ErrorInfo>, pause: impl FnOnce() -> Option<Duration>) -> Answer {
    let Some(info) = info else { return without_reason(code) };
    let refused = |outcome| Answer::Final { outcome, reason: known(&info.reason) };
    match &*info.reason {
        SOLD_OUT => refused(Outcome::SoldOut),
        NOT_STARTED => Answer::NotStarted { starts_in: starts_in(&info) },
        "ENDED" => refused(Outcome::Ended),
        SHARD_DIVERGED => refused(Outcome::Refused),
        "RECIPIENT_LIMIT_REACHED" => {
            let codes = info.metadata.get("codes").map_or("", String::as_str);
            let codes = codes.split(',').filter(|code| !code.is_empty()).map(Into::into);
            refused(Outcome::LimitReached { codes: codes.collect() })
        }
        reason if is_temporary(code) => {
            let pause = if reason == OVERLOADED { pause() } else { None };
            let may_have_happened = !says_nothing_was_done(reason);
            Answer::Again { reason: known(reason), pause, may_have_happened }
        }
        _ if is_definite(code) => refused(Outcome::Refused),
        // A fault of the server says nothing about what it had done by then.
        _ => refused(Outcome::Unknown),
    }
}

/// The answer without a reason: it was made by a connection or a library, not by a router.
fn without_reason(code: Code) -> Answer {
    let reason = code_name(code).into();
    // A connection that breaks shows as any of these, depending on what was under way on it.
    if is_temporary(code) || matches!(code, Code::Unknown | Code::Internal) {
        return Answer::Again { reason, pause: None, may_have_happened: true };
    }
    let outcome = if is_definite(code) { Outcome::Refused } else { Outcome::Unknown };
    Answer::Final { outcome, reason }
}

/// Whether the same request may be answered otherwise when it is sent again.
fn is_temporary(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// Whether an answer with this code says that the call had no effect.
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

/// Whether a call that failed with this status may have had an effect all the same, so that it should
/// be sent again with the same request id.
#[must_use]
pub fn may_have_happened(status: &Status) -> bool {
    match of_status(status) {
        Answer::Final { outcome, .. } => outcome == Outcome::Unknown,
        Answer::NotStarted { .. } => false,
        Answer::Again { may_have_happened, .. } => may_have_happened,
    }
}

/// Whether the API promises that a call with this reason had no effect, although it may succeed when it
/// is sent again.
fn says_nothing_was_done(reason: &str) -> bool {
    matches!(reason, NO_LEADER | OVERLOADED)
}

/// How long it is until the start, by the server's clock.
fn starts_in(info: &ErrorInfo) -> Option<Duration> {
    let time = |key| humantime::parse_rfc3339(info.metadata.get(key)?).ok();
    time("start_time")?.duration_since(time("server_time")?).ok()
}

/// A reason, without an allocation if it is one of the API's.
fn known(reason: &str) -> Reason {
    const KNOWN: [&str; 16] = [
        "CAMPAIGN_NOT_FOUND",
        "ENDED",
        "FIELD_VIOLATIONS",
        "INTERNAL",
        "OUTCOME_UNKNOWN",
        "PAUSED",
        "RECIPIENT_LIMIT_REACHED",
        "RECIPIENT_REQUIRED",
        "REQUEST_ID_REUSED",
        "SHARD_FULL",
        "STREAM_BROKEN",
        NOT_STARTED,
        NO_LEADER,
        OVERLOADED,
        SHARD_DIVERGED,
        SOLD_OUT,
    ];
    match KNOWN.iter().find(|known| **known == reason) {
        Some(known) => (*known).into(),
        None => reason.to_owned().into(),
    }
}

/// The name of a code as specifications write it.
#[must_use]
pub fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut details = ErrorDetails::with_error_info(reason, "coupon.v1", metadata);
        details.set_retry_info(Some(Duration::from_millis(500)));
        Status::with_error_details(code, "no", details)
    }

    fn outcome(status: &Status) -> Outcome {
        let answer = of_status(status);
        let Answer::Final { outcome, .. } = answer else { panic!("{answer:?}") };
        outcome
    }

    #[test]
    fn refusals_are_definite() {
        use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
        let refused = |code, reason| outcome(&status(code, reason, &[]));
        assert_eq!(refused(FailedPrecondition, "SOLD_OUT"), Outcome::SoldOut);
        assert_eq!(refused(FailedPrecondition, "ENDED"), Outcome::Ended);
        assert_eq!(refused(FailedPrecondition, "SHARD_FULL"), Outcome::Refused);
        assert_eq!(refused(NotFound, "CAMPAIGN_NOT_FOUND"), Outcome::Refused);
        assert_eq!(refused(InvalidArgument, "FIELD_VIOLATIONS"), Outcome::Refused);
        let held = status(AlreadyExists, "RECIPIENT_LIMIT_REACHED", &[("codes", "a,b")]);
        let codes = ["a".into(), "b".into()].into();
        assert_eq!(outcome(&held), Outcome::LimitReached { codes });
    }

    #[test]
    fn faults_of_the_server_are_unknown() {
        assert_eq!(outcome(&status(Code::Internal, "INTERNAL", &[])), Outcome::Unknown);
        assert_eq!(outcome(&Status::data_loss("no")), Outcome::Unknown);
        let broken = of_response(v1::IssueCouponResponse::default());
        assert!(matches!(broken, Answer::Final { outcome: Outcome::Unknown, .. }));
    }

    #[test]
    fn what_may_pass_is_asked_again() {
        let again = |status: &Status| {
            let answer = of_status(status);
            let Answer::Again { reason, pause, .. } = answer else { panic!("{answer:?}") };
            (reason.into_owned(), pause)
        };
        let unavailable = |reason| again(&status(Code::Unavailable, reason, &[]));
        assert_eq!(unavailable("NO_LEADER"), ("NO_LEADER".into(), None));
        let pause = Some(Duration::from_millis(500));
        assert_eq!(unavailable("OVERLOADED"), ("OVERLOADED".into(), pause));
        for (code, name) in [
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Code::Cancelled, "CANCELLED"),
            (Code::Unknown, "UNKNOWN"),
            (Code::Internal, "INTERNAL"),
        ] {
            assert_eq!(again(&Status::new(code, "broken")), (name.into(), None));
        }
    }

    #[test]
    fn what_may_have_happened_is_told_by_the_reason() {
        use Code::{
            Cancelled, DeadlineExceeded, FailedPrecondition, Internal, Unavailable, Unknown,
        };
        for reason in ["NO_LEADER", "OVERLOADED"] {
            assert!(!may_have_happened(&status(Unavailable, reason, &[])), "{reason}");
        }
        assert!(!may_have_happened(&status(FailedPrecondition, SOLD_OUT, &[])));
        assert!(!may_have_happened(&status(FailedPrecondition, NOT_STARTED, &[])));
        assert!(!may_have_happened(&Status::unimplemented("")));
        assert!(may_have_happened(&status(Unavailable, "OUTCOME_UNKNOWN", &[])));
        assert!(may_have_happened(&status(Internal, "INTERNAL", &[])));
        // What a connection or a library says has no reason of ours.
        for code in [Unavailable, DeadlineExceeded, Cancelled, Unknown, Internal] {
            assert!(may_have_happened(&Status::new(code, "broken")), "{code}");
        }
    }

    #[test]
    fn not_started_says_how_long_to_wait() {
        let times =
            [("start_time", "2030-01-01T00:00:01.5Z"), ("server_time", "2030-01-01T00:00:01.250Z")];
        let answer = of_status(&status(Code::FailedPrecondition, "NOT_STARTED", &times));
        let Answer::NotStarted { starts_in } = answer else { panic!("{answer:?}") };
        assert_eq!(starts_in, Some(Duration::from_millis(250)));
    }

    #[test]
    fn batches_are_answered_alike() {
        let info = pb::ErrorInfo { reason: SOLD_OUT.into(), ..Default::default() };
        let detail = prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
            value: prost::Message::encode_to_vec(&info),
        };
        let item = pb::Status { code: 9, message: String::new(), details: vec![detail] };
        assert!(matches!(of_item(&item), Answer::Final { outcome: Outcome::SoldOut, .. }));
    }

    #[test]
    fn served_is_what_the_campaign_promises() {
        for reason in [ISSUED, SOLD_OUT, NOT_STARTED, "ENDED", "RECIPIENT_LIMIT_REACHED"] {
            assert!(is_served(reason), "{reason}");
        }
        for reason in ["INTERNAL", "NO_LEADER", NO_ANSWER, "CAMPAIGN_NOT_FOUND"] {
            assert!(!is_served(reason), "{reason}");
        }
    }
}
