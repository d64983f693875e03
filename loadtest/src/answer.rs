//! What an answer is for the checker and for the counts. What it means for the caller,
//! [`coupon_client`] says.

use std::borrow::Cow;

use coupon_checker::Outcome;
use coupon_client::{CallError, Meaning, Reason, v1};

/// The name of an answer in counts: [`ISSUED`], [`NO_ANSWER`], [`BROKEN_ANSWER`] or the name of an error.
pub(crate) type AnswerName = Cow<'static, str>;

/// The name of an answer with a coupon.
pub(crate) const ISSUED: &str = "ISSUED";

/// The name of no answer, for which no attempt gave a reason.
pub(crate) const NO_ANSWER: &str = "NO_ANSWER";

/// The name of an answer without the coupon that it should have.
const BROKEN_ANSWER: &str = "BROKEN_ANSWER";

/// The name of the refusal of a campaign that has no more coupons.
pub(crate) const SOLD_OUT: &str = Reason::SoldOut.as_str();

/// The name of the refusal of a campaign that has not started.
pub(crate) const NOT_STARTED: &str = Reason::NotStarted.as_str();

/// Refusals that a campaign is expected to give. All others are errors.
const EXPECTED: [Reason; 7] = [
    Reason::SoldOut,
    Reason::OutOfCodes,
    Reason::QuotaHeld,
    Reason::NotStarted,
    Reason::Ended,
    Reason::Paused,
    Reason::RecipientLimitReached,
];

/// Whether a call that ended so was served: it got a coupon, or a refusal that is due.
pub(crate) fn is_served(name: &str) -> bool {
    name == ISSUED || EXPECTED.iter().any(|reason| reason.as_str() == name)
}

/// The outcome in a response, and its name.
pub(crate) fn of_response(response: v1::IssueCouponResponse) -> (Outcome, AnswerName) {
    let v1::IssueCouponResponse { coupon, replayed } = response;
    let found = coupon.and_then(|coupon| Some((u64::try_from(coupon.sequence).ok()?, coupon.code)));
    match found {
        Some((sequence, code)) => {
            (Outcome::Issued { sequence, code: code.into(), replayed }, ISSUED.into())
        }
        None => (Outcome::Unknown, BROKEN_ANSWER.into()),
    }
}

/// The outcome in an error that ends a call of one attempt.
pub(crate) fn of_error(error: &CallError) -> Outcome {
    match error.meaning() {
        Meaning::Refused if error.reason() == Some(Reason::SoldOut) => Outcome::SoldOut,
        Meaning::Refused if error.reason() == Some(Reason::Ended) => Outcome::Ended,
        Meaning::Refused if error.reason() == Some(Reason::RecipientLimitReached) => {
            Outcome::LimitReached { codes: error.held_codes().map(Into::into).collect() }
        }
        Meaning::Refused | Meaning::RetryUnchanged => Outcome::Refused,
        Meaning::NotStarted { .. } => Outcome::NotStarted,
        Meaning::RetryAmbiguous | Meaning::Unknown => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn outcome(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Outcome {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let details = ErrorDetails::with_error_info(reason, "coupon.v1", metadata);
        of_error(&Status::with_error_details(code, "no", details).into())
    }

    #[test]
    fn refusals_are_definite() {
        use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
        let refused = |code, reason| outcome(code, reason, &[]);
        assert_eq!(refused(FailedPrecondition, "SOLD_OUT"), Outcome::SoldOut);
        assert_eq!(refused(FailedPrecondition, "ENDED"), Outcome::Ended);
        assert_eq!(refused(FailedPrecondition, "NOT_STARTED"), Outcome::NotStarted);
        assert_eq!(refused(FailedPrecondition, "SHARD_FULL"), Outcome::Refused);
        assert_eq!(refused(NotFound, "CAMPAIGN_NOT_FOUND"), Outcome::Refused);
        assert_eq!(refused(InvalidArgument, "FIELD_VIOLATIONS"), Outcome::Refused);
        let held = outcome(AlreadyExists, "RECIPIENT_LIMIT_REACHED", &[("codes", "a,b")]);
        let codes = ["a".into(), "b".into()].into();
        assert_eq!(held, Outcome::LimitReached { codes });
    }

    #[test]
    fn faults_of_the_server_are_unknown() {
        assert_eq!(outcome(Code::Internal, "INTERNAL", &[]), Outcome::Unknown);
        assert_eq!(of_error(&Status::data_loss("no").into()), Outcome::Unknown);
        let (broken, _) = of_response(v1::IssueCouponResponse::default());
        assert_eq!(broken, Outcome::Unknown);
    }

    #[test]
    fn served_is_what_the_campaign_promises() {
        for name in [ISSUED, SOLD_OUT, NOT_STARTED, "ENDED", "RECIPIENT_LIMIT_REACHED"] {
            assert!(is_served(name), "{name}");
        }
        for name in ["INTERNAL", "NO_LEADER", NO_ANSWER, "CAMPAIGN_NOT_FOUND"] {
            assert!(!is_served(name), "{name}");
        }
    }
}
