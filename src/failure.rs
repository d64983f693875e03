//! How a failure reaches the person at the terminal, and the script that asks for the exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use coupon_admin::AskError;
use coupon_client::{ConnectError, code_name};
use coupon_node::NodeError;
use coupon_node::storage::identity::IdentityError;
use coupon_router::RouterError;
use tonic::{Code, Status};

/// A mistake in the command line or the configuration that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// A call that was answered with an error. It says all there is to say, so that the answer is not its source
/// as well.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.0))]
pub(crate) struct CallError(coupon_client::CallError);

impl From<coupon_client::CallError> for CallError {
    fn from(error: coupon_client::CallError) -> Self {
        Self(error)
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self(status.into())
    }
}

impl CallError {
    /// The code it was answered with.
    pub(crate) fn code(&self) -> Code {
        self.0.code()
    }

    /// The failure of a call that changes something. If it may have done so all the same, the arguments
    /// in `again` are said to be those to ask again with, so that it is not done twice.
    pub(crate) fn of_change(
        error: coupon_client::CallError,
        again: impl FnOnce() -> String,
    ) -> Self {
        if error.may_have_happened() {
            eprintln!("ask again with {}", again());
        }
        error.into()
    }
}

/// The failure to connect to a router.
pub(crate) fn of_router(error: ConnectError) -> anyhow::Error {
    match error {
        ConnectError::Address(error) => UsageError(error.to_string()).into(),
        ConnectError::NoRouter | ConnectError::Connect { .. } => error.into(),
    }
}

/// The failure to ask a node.
pub(crate) fn of_node(error: AskError) -> anyhow::Error {
    match error {
        AskError::Address(error) => UsageError(error.to_string()).into(),
        AskError::Refused(status) => CallError::from(status).into(),
        AskError::Connect { .. }
        | AskError::Silent(_)
        | AskError::NoCluster { .. }
        | AskError::NotRegistered(_)
        | AskError::NoMap(_)
        | AskError::Malformed { .. }
        | AskError::Identity(_) => error.into(),
    }
}

/// Prints a failure and says what to exit with.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {}", causes(error));
    if error.is::<UsageError>() {
        ExitCode::from(2)
    } else if error.chain().any(must_not_run) {
        ExitCode::from(3)
    } else {
        ExitCode::FAILURE
    }
}

/// Whether a node or router must not run as it was started because its cluster, data directory or identity is
/// wrong. Restarting it changes nothing.
fn must_not_run(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_node = cause.downcast_ref::<NodeError>().is_some_and(|error| match error {
        // A disk may be mended.
        NodeError::Identity(IdentityError::Storage(_)) => false,
        NodeError::Identity(_) | NodeError::StopReason(_) => true,
        NodeError::Listen { .. } | NodeError::Workers(_) | NodeError::Raft(_) => false,
    });
    let of_router = cause.downcast_ref::<RouterError>();
    of_node || of_router.is_some_and(|error| matches!(error, RouterError::WrongCluster(_)))
}

/// An error and its causes. Some errors say what caused them themselves; that is not said again.
fn causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

/// The message of an error, and below it everything that its details say.
fn describe(error: &coupon_client::CallError) -> String {
    let message = match error.message() {
        "" if error.code() == Code::Unimplemented => {
            "the call is unknown there: is it a router where a node is asked for, or a node where a \
             router is?"
        }
        message => message,
    };
    let preface =
        if error.is_outcome_unknown() { "the outcome is unknown\n  last answer: " } else { "" };
    let mut text = format!("{preface}{message}\n  code: {}", code_name(error.code()));
    // Writing to a string cannot fail.
    let _ = write_details(&mut text, error);
    text
}

fn write_details(text: &mut String, error: &coupon_client::CallError) -> std::fmt::Result {
    if let Some(reason) = error.reason_text() {
        write!(text, "\n  reason: {reason}")?;
    }
    let mut metadata: Vec<_> = error.metadata().collect();
    metadata.sort_unstable();
    for (key, value) in metadata {
        write!(text, "\n  {key}: {value}")?;
    }
    for violation in error.violations() {
        write!(text, "\n  field {}: {}", violation.field, violation.description)?;
    }
    if let Some(delay) = error.retry_after() {
        write!(text, "\n  retry after: {}", humantime::format_duration(delay))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn everything_that_helps_is_shown() {
        let start = HashMap::from([("start_time".to_owned(), "2030-01-01T00:00:00Z".to_owned())]);
        let mut details = ErrorDetails::with_error_info("NOT_STARTED", "coupon.v1", start);
        details.add_bad_request_violation("quota", "must be 1 to 5");
        details.set_retry_info(Some(std::time::Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::FailedPrecondition, "not yet", details);
        assert_eq!(
            format!("{:#}", anyhow::Error::new(CallError::from(status))),
            "not yet\n  code: FAILED_PRECONDITION\n  reason: NOT_STARTED\
             \n  start_time: 2030-01-01T00:00:00Z\n  field quota: must be 1 to 5\
             \n  retry after: 1s 500ms"
        );
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("in use");
        let error = anyhow::Error::new(cause).context("listen: in use").context("start");
        assert_eq!(causes(&error), "start: listen: in use");
    }

    #[test]
    fn a_wrong_kind_of_server_is_named() {
        let error = CallError::from(Status::unimplemented(""));
        assert!(error.to_string().starts_with("the call is unknown there"), "{error}");
    }

    #[test]
    fn usage_errors_have_an_exit_code_of_their_own() {
        let usage = anyhow::Error::new(UsageError("no".into()));
        assert_eq!(report(&usage), ExitCode::from(2));
        assert_eq!(report(&usage.context("while reading")), ExitCode::from(2));
        assert_eq!(report(&anyhow::anyhow!("no")), ExitCode::from(1));
    }

    #[test]
    fn what_must_not_run_has_an_exit_code_of_its_own() {
        let replaced = || NodeError::from(coupon_node::StopReason::Replaced);
        assert_eq!(report(&replaced().into()), ExitCode::from(3));
        assert_eq!(report(&anyhow::Error::new(replaced()).context("node 1")), ExitCode::from(3));
        let found = "n1:1 is node 1 of cluster b".to_owned();
        let wrong = coupon_router::WrongCluster { cluster_id: "a".to_owned(), found };
        assert_eq!(report(&RouterError::from(wrong).into()), ExitCode::from(3));
        assert_eq!(report(&RouterError::NoNodes.into()), ExitCode::from(1));
    }
}
