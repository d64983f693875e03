//! How a failure reaches the person at the terminal, and the script that asks for the exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use coupon_loadtest::{code_name, may_have_happened};
use coupon_node::NodeError;
use coupon_node::storage::identity::IdentityError;
use coupon_router::RouterError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A mistake in the command line or the configuration that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// A call that was answered with an error. It says all there is to say, so that the status is not
/// its source as well.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.0))]
pub(crate) struct CallError(Status);

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl CallError {
    /// The code it was answered with.
    pub(crate) fn code(&self) -> Code {
        self.0.code()
    }

    /// The failure of a call that changes something. If it may have done so all the same, the arguments
    /// in `again` are said to be those to ask again with, so that it is not done twice.
    pub(crate) fn of_change(status: Status, again: impl FnOnce() -> String) -> Self {
        if may_have_happened(&status) {
            eprintln!("ask again with {}", again());
        }
        status.into()
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
        NodeError::Identity(_) | NodeError::Refused(_) => true,
        NodeError::Listen { .. } | NodeError::Raft(_) => false,
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

/// The message of a status, and below it everything that its details say.
pub(crate) fn describe(status: &Status) -> String {
    let details = status.get_error_details();
    let message = match status.message() {
        "" if status.code() == Code::Unimplemented => {
            "the call is unknown there: is it a router where a node is asked for, or a node where a \
             router is?"
        }
        message => message,
    };
    let mut text = format!("{message}\n  code: {}", code_name(status.code()));
    // Writing to a string cannot fail.
    let _ = write_details(&mut text, &details);
    text
}

fn write_details(text: &mut String, details: &ErrorDetails) -> std::fmt::Result {
    if let Some(info) = details.error_info() {
        write!(text, "\n  reason: {}", info.reason)?;
        let mut metadata: Vec<_> = info.metadata.iter().collect();
        metadata.sort_unstable();
        for (key, value) in metadata {
            write!(text, "\n  {key}: {value}")?;
        }
    }
    if let Some(request) = details.bad_request() {
        for violation in &request.field_violations {
            write!(text, "\n  field {}: {}", violation.field, violation.description)?;
        }
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        write!(text, "\n  retry after: {}", humantime::format_duration(delay))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn everything_that_helps_is_shown() {
        let start = HashMap::from([("start_time".to_owned(), "2030-01-01T00:00:00Z".to_owned())]);
        let mut details = ErrorDetails::with_error_info("NOT_STARTED", "coupon.v1", start);
        details.add_bad_request_violation("quota", "must be 1 to 5");
        details.set_retry_info(Some(std::time::Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::FailedPrecondition, "not yet", details);
        assert_eq!(
            format!("{:#}", anyhow::Error::new(CallError(status))),
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
        assert!(describe(&Status::unimplemented("")).starts_with("the call is unknown there"));
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
        let replaced = || NodeError::from(coupon_node::Refused::Replaced);
        assert_eq!(report(&replaced().into()), ExitCode::from(3));
        assert_eq!(report(&anyhow::Error::new(replaced()).context("node 1")), ExitCode::from(3));
        let found = "n1:1 is node 1 of cluster b".to_owned();
        let wrong = coupon_router::WrongCluster { cluster_id: "a".to_owned(), found };
        assert_eq!(report(&RouterError::from(wrong).into()), ExitCode::from(3));
        assert_eq!(report(&RouterError::NoNodes.into()), ExitCode::from(1));
    }
}
