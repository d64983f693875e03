//! How a failure reaches the person at the terminal, and the script that asks for the exit code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use coupon_admin::AskError;
use coupon_client::{ConnectError, Meaning, code_name};
use coupon_node::NodeError;
use coupon_node::storage::identity::IdentityError;
use coupon_router::RouterError;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::error::Elapsed;
use tonic::{Code, Status};
use tonic_types::FieldViolation;

use crate::output::{Format, ReaderGone};

/// A mistake in the command line or the configuration that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// A call that was answered with an error. It says all there is to say, so that the answer is not its source
/// as well.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(self))]
pub(crate) struct CallError {
    error: coupon_client::CallError,
    /// The arguments to ask again with, where it is not known whether the call changed something.
    again: Option<String>,
}

impl From<coupon_client::CallError> for CallError {
    fn from(error: coupon_client::CallError) -> Self {
        Self { error, again: None }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        // The library says so when the time that it was given is over.
        let is_late = status.code() == Code::Cancelled && status.message() == "Timeout expired";
        let late = || Status::deadline_exceeded("there was no answer in time");
        coupon_client::CallError::from(if is_late { late() } else { status }).into()
    }
}

impl CallError {
    /// The code it was answered with.
    pub(crate) fn code(&self) -> Code {
        self.error.code()
    }

    /// The failure of a call that changes something. If it may have done so all the same, the arguments
    /// in `again` are said to be those to ask again with, so that it is not done twice.
    pub(crate) fn of_change(
        error: coupon_client::CallError,
        again: impl FnOnce() -> String,
    ) -> Self {
        let again = error.may_have_happened().then(again);
        Self { error, again }
    }

    fn kind(&self) -> Kind {
        match self.error.meaning() {
            _ if self.error.is_outcome_unknown() => Kind::OutcomeUnknown,
            Meaning::Refused | Meaning::NotStarted { .. } => Kind::Refused,
            // What only reads can always be asked again.
            Meaning::RetryUnchanged | Meaning::RetryAmbiguous => Kind::Unavailable,
            Meaning::Unknown => Kind::Failed,
        }
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

/// A list lacks what some shards have.
#[derive(Debug, thiserror::Error)]
#[error("the list is not complete: {0} cannot be reached; list again later")]
struct IncompleteError(String);

/// Fails if a list lacks what some shards have, after all else was printed.
pub(crate) fn check_whole(unreachable: &[String]) -> anyhow::Result<()> {
    if unreachable.is_empty() {
        Ok(())
    } else {
        Err(IncompleteError(unreachable.join(", ")).into())
    }
}

/// Lines of an import whose codes were not added.
#[derive(Debug, thiserror::Error)]
#[error("the codes of {0} lines were not added; all others were")]
pub(crate) struct RefusedLinesError(pub(crate) usize);

/// What a script can do about a failure: each kind has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Anything else, such as lines of an import that were refused. A person has to look.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A node or a router must not run as it was started; restarting it changes nothing.
    MustNotRun = 3,
    /// The call was refused: nothing was changed, and the same call is refused again unless something else changes.
    Refused = 4,
    /// It is not known whether the call changed something: ask again with the same request id.
    OutcomeUnknown = 5,
    /// No router or node could answer, or a list lacks what some shards have; nothing was changed: try again later.
    Unavailable = 6,
}

impl Kind {
    fn of(error: &anyhow::Error) -> Self {
        if error.is::<UsageError>() {
            return Self::Usage;
        }
        if error.chain().any(must_not_run) {
            return Self::MustNotRun;
        }
        if let Some(error) = error.chain().find_map(|cause| cause.downcast_ref::<CallError>()) {
            return error.kind();
        }
        if error.is::<IncompleteError>() {
            return Self::Unavailable;
        }
        if error.chain().any(is_unreachable) { Self::Unavailable } else { Self::Failed }
    }
}

/// Prints a failure and says what to exit with.
pub(crate) fn report(error: &anyhow::Error, format: Format) -> ExitCode {
    if error.is::<ReaderGone>() {
        // As with any other program in front of `head`.
        return ExitCode::FAILURE;
    }
    let kind = Kind::of(error);
    match format {
        Format::Table => eprintln!("error: {}", causes(error)),
        Format::Json => eprintln!("{}", json(error, kind)),
    }
    ExitCode::from(kind as u8)
}

/// A failure for programs; fields are only ever added.
fn json(error: &anyhow::Error, kind: Kind) -> Value {
    let mut json = json!({ "kind": kind, "exit_code": kind as u8 });
    let call = error.chain().find_map(|cause| cause.downcast_ref::<CallError>());
    let Some(CallError { error: call, again }) = call else {
        json["message"] = causes(error).into();
        return json;
    };
    json["message"] = message_of(call).into();
    json["code"] = code_name(call.code()).into();
    json["reason"] = call.reason_text().into();
    json["details"] = call.metadata().collect::<BTreeMap<_, _>>().into_iter().collect();
    let violations = call.violations().iter();
    let shown =
        |one: &FieldViolation| json!({ "field": one.field, "description": one.description });
    json["violations"] = violations.map(shown).collect();
    json["retry_after_ms"] = call.retry_after().map(|delay| delay.as_millis() as u64).into();
    json["request_id"] = call.request_id().into();
    json["ask_again_with"] = again.as_deref().into();
    json
}

/// Whether a router or a node could not be reached, or did not answer in time.
fn is_unreachable(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_node = cause.downcast_ref::<AskError>();
    cause.is::<ConnectError>()
        || cause.is::<Elapsed>()
        || of_node
            .is_some_and(|error| matches!(error, AskError::Connect { .. } | AskError::Silent(_)))
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
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

/// The message of an error.
fn message_of(error: &coupon_client::CallError) -> &str {
    match error.message() {
        "" if error.code() == Code::Unimplemented => {
            "the call is unknown there: is it a router where a node is asked for, or a node where a \
             router is?"
        }
        message => message,
    }
}

/// The message of an error, and below it everything that its details say.
fn describe(CallError { error, again }: &CallError) -> String {
    let preface =
        if error.is_outcome_unknown() { "the outcome is unknown\n  last answer: " } else { "" };
    let mut text = format!("{preface}{}\n  code: {}", message_of(error), code_name(error.code()));
    // Writing to a string cannot fail.
    let _ = write_details(&mut text, error);
    if let Some(again) = again {
        let _ = write!(text, "\n  ask again with {again}");
    }
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
    fn a_list_that_lacks_something_is_a_failure() {
        assert!(check_whole(&[]).is_ok());
        let error = check_whole(&["shards/2".into(), "shards/5".into()]).unwrap_err().to_string();
        assert!(error.contains("shards/2, shards/5 cannot be reached"), "{error}");
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
    fn every_kind_of_failure_has_an_exit_code_of_its_own() {
        let call = |code, reason: &str| {
            let details = ErrorDetails::with_error_info(reason, "coupon.v1", []);
            CallError::from(Status::with_error_details(code, "no", details))
        };
        let usage = || anyhow::Error::new(UsageError("no".into()));
        let elapsed = runtime_elapsed();
        for (error, kind, code) in [
            (anyhow::anyhow!("no"), Kind::Failed, 1),
            (usage(), Kind::Usage, 2),
            (usage().context("while reading"), Kind::Usage, 2),
            (call(Code::FailedPrecondition, "SOLD_OUT").into(), Kind::Refused, 4),
            (call(Code::FailedPrecondition, "NOT_STARTED").into(), Kind::Refused, 4),
            (call(Code::Unavailable, "NO_LEADER").into(), Kind::Unavailable, 6),
            (call(Code::Internal, "INTERNAL").into(), Kind::Failed, 1),
            (CallError::from(Status::cancelled("Timeout expired")).into(), Kind::Unavailable, 6),
            (elapsed.context("connect"), Kind::Unavailable, 6),
            (RefusedLinesError(2).into(), Kind::Failed, 1),
            (of_node(AskError::Silent("n1:1".into())), Kind::Unavailable, 6),
        ] {
            assert_eq!(Kind::of(&error), kind, "{error}");
            assert_eq!(report(&error, Format::Json), ExitCode::from(code), "{error}");
        }
    }

    fn runtime_elapsed() -> anyhow::Error {
        let late = async {
            tokio::time::timeout(std::time::Duration::ZERO, std::future::pending::<()>()).await
        };
        crate::runtime::block_on(async { Ok(late.await?) }).unwrap_err()
    }

    #[test]
    fn programs_read_everything_that_people_read() {
        let codes = HashMap::from([("codes".to_owned(), "a,b".to_owned())]);
        let mut details =
            ErrorDetails::with_error_info("RECIPIENT_LIMIT_REACHED", "coupon.v1", codes);
        details.add_bad_request_violation("recipient", "has enough");
        details.set_retry_info(Some(std::time::Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::AlreadyExists, "enough", details);
        let error = anyhow::Error::new(CallError::from(status));
        assert_eq!(
            json(&error, Kind::of(&error)),
            json!({
                "kind": "refused",
                "exit_code": 4,
                "message": "enough",
                "code": "ALREADY_EXISTS",
                "reason": "RECIPIENT_LIMIT_REACHED",
                "details": { "codes": "a,b" },
                "violations": [{ "field": "recipient", "description": "has enough" }],
                "retry_after_ms": 1500,
                "request_id": null,
                "ask_again_with": null,
            })
        );
        let other = anyhow::anyhow!("in use").context("listen");
        let shown = json!({ "kind": "failed", "exit_code": 1, "message": "listen: in use" });
        assert_eq!(json(&other, Kind::of(&other)), shown);
    }

    #[test]
    fn what_must_not_run_has_an_exit_code_of_its_own() {
        let replaced = || NodeError::from(coupon_node::StopReason::Replaced);
        let code = |error: anyhow::Error| report(&error, Format::Table);
        assert_eq!(code(replaced().into()), ExitCode::from(3));
        assert_eq!(code(anyhow::Error::new(replaced()).context("node 1")), ExitCode::from(3));
        let found = "n1:1 is node 1 of cluster b".to_owned();
        let wrong = coupon_router::WrongCluster { cluster_id: "a".to_owned(), found };
        assert_eq!(code(RouterError::from(wrong).into()), ExitCode::from(3));
        assert_eq!(code(RouterError::NoNodes.into()), ExitCode::from(1));
    }
}
