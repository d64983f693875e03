//! The end of a process that cannot trust its disk or its replicas any more.

use std::fmt::Display;
use std::io::Write as _;

/// Ends the process with one clear line on standard error.
///
/// A replica whose disk fails must not answer, vote or acknowledge, and no task that goes on
/// running could be relied on to remember that. The supervisor starts the process again, and the
/// log brings the replica back to where its disk says it is.
pub fn abort(context: &str, fault: &dyn Display) -> ! {
    // Standard error itself, since the line is all that is left of the process.
    let line = format!(
        "coupon: fatal: {context}: {fault}; the process ends here so that no answer can be wrong\n"
    );
    let _ = std::io::stderr().write_all(line.as_bytes());
    tracing::error!(%fault, "fatal: {context}");
    std::process::abort()
}
