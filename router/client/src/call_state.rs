//! What is known of a call after some attempts. Pure.

use crate::call_error::CallError;
use crate::meaning::Meaning;

/// A call under way.
#[derive(Debug)]
pub(crate) struct CallState {
    /// The same for all attempts; `None` of calls that have none.
    request_id: Option<String>,
    attempts: u32,
    /// Whether an attempt may have had an effect that is not known.
    may_have_happened: bool,
}

/// What an attempt that failed leads to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The call is to be repeated.
    Again(CallError),
    /// The call has ended.
    Done(CallError),
}

impl CallState {
    /// Before the first attempt.
    pub(crate) fn new(request_id: Option<String>) -> Self {
        Self { request_id, attempts: 0, may_have_happened: false }
    }

    /// Takes the error of an attempt.
    pub(crate) fn take(&mut self, error: CallError) -> Step {
        self.attempts = self.attempts.saturating_add(1);
        if error.meaning().is_retryable() {
            self.may_have_happened |= error.may_have_happened();
            return Step::Again(error);
        }
        let is_open = self.may_have_happened && !error.settles_earlier_attempts();
        let meaning = if is_open { Meaning::Unknown } else { error.meaning() };
        Step::Done(self.of_call(error, meaning))
    }

    /// The error of a call that is given up after an attempt with this error.
    pub(crate) fn give_up(&self, error: CallError) -> CallError {
        let meaning = if self.may_have_happened { Meaning::Unknown } else { error.meaning() };
        self.of_call(error, meaning)
    }

    fn of_call(&self, error: CallError, meaning: Meaning) -> CallError {
        error.of_call(meaning, self.request_id.as_deref(), self.attempts)
    }
}

#[cfg(test)]
mod tests {
    use coupon_proto::reason::{DOMAIN, Reason};
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn error(code: Code, reason: Reason) -> CallError {
        let details = ErrorDetails::with_error_info(
            reason.as_str(),
            DOMAIN,
            std::collections::HashMap::new(),
        );
        Status::with_error_details(code, "no", details).into()
    }

    fn after(earlier: Option<CallError>, last: CallError) -> CallError {
        let mut state = CallState::new(Some("id".into()));
        if let Some(earlier) = earlier {
            assert!(matches!(state.take(earlier), Step::Again(_)));
        }
        match state.take(last) {
            Step::Done(error) => error,
            Step::Again(error) => state.give_up(error),
        }
    }

    #[test]
    fn a_refusal_settles_a_call_only_if_it_speaks_of_all_attempts() {
        let lost = || Some(Status::unavailable("broken").into());
        let ended = || error(Code::FailedPrecondition, Reason::Ended);
        let sold_out = || error(Code::FailedPrecondition, Reason::SoldOut);
        let paused = || error(Code::FailedPrecondition, Reason::Paused);
        assert_eq!(after(lost(), ended()).meaning(), Meaning::Refused);
        assert_eq!(after(lost(), sold_out()).meaning(), Meaning::Unknown, "quota can be returned");
        assert_eq!(after(lost(), paused()).meaning(), Meaning::Unknown);
        assert_eq!(after(None, paused()).meaning(), Meaning::Refused);
        let no_leader = error(Code::Unavailable, Reason::NoLeader);
        assert_eq!(after(Some(no_leader), paused()).meaning(), Meaning::Refused);
    }

    #[test]
    fn what_is_given_up_is_unknown_if_an_attempt_may_have_happened() {
        let no_leader = || error(Code::Unavailable, Reason::NoLeader);
        let given_up = after(Some(no_leader()), no_leader());
        assert_eq!(given_up.meaning(), Meaning::RetryUnchanged);
        assert!(!given_up.may_have_happened());
        let lost = error(Code::Unavailable, Reason::OutcomeUnknown);
        let given_up = after(Some(lost), no_leader());
        assert_eq!(given_up.meaning(), Meaning::Unknown);
        assert_eq!((given_up.attempts(), given_up.request_id()), (2, Some("id")));
        assert_eq!(given_up.reason(), Some(Reason::NoLeader));
    }
}
