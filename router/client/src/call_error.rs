//! An error that a call was answered with, decoded and understood.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error as _;
use std::time::Duration;

use coupon_proto::reason::{DOMAIN, Reason};
use tonic::{Code, ConnectError, Status};
use tonic_types::{ErrorDetails, FieldViolation, RpcStatusExt as _, StatusExt as _, pb};

use crate::meaning::{Meaning, settles_earlier_attempts};

/// An error that a call, or one request of a batch, was answered with.
///
/// Made of a status it is the answer to one attempt; from [`Client`](crate::Client) it speaks of the whole
/// call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{} ({})", self.preface(), self.message(), self.name())]
pub struct CallError(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    code: Code,
    message: String,
    details: ErrorDetails,
    reason: Option<Reason>,
    meaning: Meaning,
    request_id: Option<String>,
    attempts: u32,
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let mut error = Self::new(status.code(), status.message().to_owned(), details);
        if is_unsent(&status) {
            error.0.meaning = Meaning::RetryUnchanged;
        }
        error
    }
}

impl From<pb::Status> for CallError {
    fn from(status: pb::Status) -> Self {
        let details = status.get_error_details();
        Self::new(Code::from_i32(status.code), status.message, details)
    }
}

impl CallError {
    fn new(code: Code, message: String, details: ErrorDetails) -> Self {
        // The reasons of other domains are those of proxies and libraries.
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = info.and_then(|info| Reason::parse(&info.reason));
        let meaning = match (info, reason) {
            (None, _) => Meaning::without_reason(code),
            (Some(_), None) => Meaning::of_unknown_reason(code),
            (Some(info), Some(reason)) => Meaning::of_reason(reason, &info.metadata),
        };
        let (request_id, attempts) = (None, 1);
        Self(Box::new(Parts { code, message, details, reason, meaning, request_id, attempts }))
    }

    /// What it means for the caller.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        self.0.meaning
    }

    /// Whether the call may have had an effect. If so, repeat it with the same request id.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.0.meaning.may_have_happened()
    }

    /// Whether the call changes something, and may have done so. Its message is the last answer then, which speaks of
    /// the last attempt alone.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        // Calls that only read have no request id.
        self.0.request_id.is_some() && self.may_have_happened()
    }

    /// The reason that the router gave; `None` if it is unknown to this client, or no router made the error.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// A name to count errors by: the reason as it was sent, or else the name of the code.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match (self.0.reason, self.reason_text()) {
            (Some(reason), _) => reason.as_str().into(),
            (None, Some(text)) => text.to_owned().into(),
            (None, None) => code_name(self.0.code).into(),
        }
    }

    /// The reason as it was sent, of whatever domain.
    #[must_use]
    pub fn reason_text(&self) -> Option<&str> {
        self.0.details.error_info().map(|info| info.reason.as_str())
    }

    /// What the reason says besides, such as `start_time`; in no order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let metadata = self.info_metadata().into_iter().flatten();
        metadata.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The codes that the recipient holds, as [`Reason::RecipientLimitReached`] names them: at most ten.
    pub fn held_codes(&self) -> impl Iterator<Item = &str> {
        let codes = self.info_metadata().and_then(|metadata| metadata.get("codes"));
        let codes = codes.map_or("", String::as_str).split(',');
        codes.filter(|code| !code.is_empty())
    }

    /// The fields that are not what they must be.
    #[must_use]
    pub fn violations(&self) -> &[FieldViolation] {
        self.0.details.bad_request().map_or(&[], |request| &request.field_violations)
    }

    /// The minimum time before the call is repeated, if the server gives one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.details.retry_info().and_then(|info| info.retry_delay)
    }

    /// The request id of all attempts; `None` of calls that have none.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The number of attempts, from 1.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether this answer says that no earlier attempt of the same call had or will have an effect. Other
    /// refusals speak of their own attempt only: one that is still on its way may be carried out later.
    #[must_use]
    pub fn settles_earlier_attempts(&self) -> bool {
        self.0.reason.is_some_and(settles_earlier_attempts)
    }

    /// The error of a whole call, of which this is the last answer.
    pub(crate) fn of_call(
        mut self,
        meaning: Meaning,
        request_id: Option<&str>,
        attempts: u32,
    ) -> Self {
        self.0.meaning = meaning;
        self.0.request_id = request_id.map(str::to_owned);
        self.0.attempts = attempts;
        self
    }

    fn preface(&self) -> &'static str {
        if self.is_outcome_unknown() { "the outcome is unknown; the last answer: " } else { "" }
    }

    fn info_metadata(&self) -> Option<&HashMap<String, String>> {
        self.0.details.error_info().map(|info| &info.metadata)
    }
}

/// Whether an attempt ended before its request was sent, since no connection could be made.
fn is_unsent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The name of a code as specifications write it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Code, reason: &str, domain: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut details = ErrorDetails::with_error_info(reason, domain, metadata);
        details.set_retry_info(Some(Duration::from_millis(500)));
        Status::with_error_details(code, "no", details)
    }

    #[test]
    fn details_are_decoded() {
        let held = [("codes", "a,b")];
        let status = status(Code::AlreadyExists, "RECIPIENT_LIMIT_REACHED", DOMAIN, &held);
        let error = CallError::from(status);
        assert_eq!(error.reason(), Some(Reason::RecipientLimitReached));
        assert_eq!((error.code(), error.meaning()), (Code::AlreadyExists, Meaning::Refused));
        assert_eq!(error.held_codes().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(error.metadata().collect::<Vec<_>>(), held);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
        assert_eq!(error.to_string(), "no (RECIPIENT_LIMIT_REACHED)");
        let details = ErrorDetails::with_bad_request_violation("quota", "must be 1 to 5");
        let error: CallError =
            Status::with_error_details(Code::InvalidArgument, "no", details).into();
        assert_eq!(error.violations()[0].field, "quota");
    }

    #[test]
    fn a_request_of_a_batch_is_answered_alike() {
        let status = status(Code::FailedPrecondition, "SOLD_OUT", DOMAIN, &[]);
        let item: pb::Status = prost::Message::decode(status.details()).unwrap();
        let (one, other) = (CallError::from(status), CallError::from(item));
        assert_eq!(one.reason(), Some(Reason::SoldOut));
        assert_eq!((one.reason(), one.to_string()), (other.reason(), other.to_string()));
    }

    #[test]
    fn reasons_of_other_domains_are_not_ours() {
        let foreign = status(Code::Unavailable, "SOLD_OUT", "example.com", &[]);
        let error = CallError::from(foreign);
        assert_eq!((error.reason(), error.meaning()), (None, Meaning::RetryAmbiguous));
        assert_eq!(error.name(), "SOLD_OUT");
    }

    #[test]
    fn an_unknown_outcome_is_said_first() {
        let no_leader = || CallError::from(status(Code::Unavailable, "NO_LEADER", DOMAIN, &[]));
        let unknown = no_leader().of_call(Meaning::Unknown, Some("id"), 2);
        let text = unknown.to_string();
        assert_eq!(text, "the outcome is unknown; the last answer: no (NO_LEADER)");
        let unchanged = no_leader().of_call(Meaning::RetryUnchanged, Some("id"), 2);
        let read = no_leader().of_call(Meaning::Unknown, None, 2);
        for error in [no_leader(), unchanged, read] {
            assert_eq!(error.to_string(), "no (NO_LEADER)");
        }
    }

    #[test]
    fn errors_are_counted_by_reason_or_code() {
        let name = |status| CallError::from(status).name().into_owned();
        assert_eq!(name(status(Code::Unavailable, "NO_LEADER", DOMAIN, &[])), "NO_LEADER");
        assert_eq!(name(status(Code::Aborted, "NEWER", DOMAIN, &[])), "NEWER");
        assert_eq!(name(Status::deadline_exceeded("late")), "DEADLINE_EXCEEDED");
    }
}
