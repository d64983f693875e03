//! Why there is no load, or no verdict.

use std::io;
use std::path::PathBuf;

use tonic::Status;

/// Why a load test could not be carried out. What a system under load answers is no such error.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A router's address is not `host:port`.
    #[error("{address:?} is no address: it must be host:port")]
    Address {
        /// What was given.
        address: String,
    },
    /// A router could not be connected to.
    #[error("connect to {router}")]
    Connect {
        /// Its address.
        router: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// A call that must succeed for the test to make sense did not.
    #[error("{what}: {}", status.message())]
    Call {
        /// What was to be done.
        what: &'static str,
        /// The answer.
        status: Box<Status>,
    },
    /// An answer lacks something that every answer has.
    #[error("the router sent {0}")]
    BrokenAnswer(&'static str),
    /// The timer of the kernel does not work.
    #[error("set a timer")]
    Timer(#[source] io::Error),
    /// A file could not be read or written.
    #[error("{what} {}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl LoadError {
    /// For `map_err` of calls.
    pub(crate) fn call(what: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::Call { what, status: Box::new(status) }
    }
}
