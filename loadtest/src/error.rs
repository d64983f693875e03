//! Why there is no load.

use std::io;

use coupon_client::{CallError, ConnectError};

/// Why a load test could not be carried out. What a system under load answers is no such error.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A router could not be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call that must succeed for the test to make sense did not.
    #[error("{what}: {}", error.message())]
    Call {
        /// What was to be done.
        what: &'static str,
        /// The answer.
        error: CallError,
    },
    /// Shards could not be reached, for as long as was waited for them.
    #[error("list the campaigns: {0} cannot be reached")]
    Unreachable(String),
    /// An answer lacks something that every answer has.
    #[error("the router sent {0}")]
    BrokenAnswer(&'static str),
    /// The timer of the kernel does not work.
    #[error("set a timer")]
    Timer(#[source] io::Error),
}

impl LoadError {
    /// For `map_err` of calls.
    pub(crate) fn call(what: &'static str) -> impl Fn(CallError) -> Self {
        move |error| Self::Call { what, error }
    }
}
