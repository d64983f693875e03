//! Why there is no load, or no verdict.

use std::io;
use std::path::PathBuf;

use coupon_checker::History;
use tonic::Status;

use crate::address::NoAddress;
use crate::report::Report;

/// Why a load test could not be carried out. What a system under load answers is no such error.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A router's address is none.
    #[error(transparent)]
    Address(#[from] NoAddress),
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
    /// Load was given, and the campaigns could not be read back, so that nothing was judged.
    #[error("read the campaigns back")]
    Unread {
        /// What there is all the same.
        unjudged: Box<Unjudged>,
        /// Why they could not be read.
        source: Box<LoadError>,
    },
}

/// A run of which nothing was judged.
#[derive(Debug)]
pub struct Unjudged {
    /// The calls. There are no coupons to judge them by: it is to be written with
    /// [`history_file::write_calls`](crate::history_file::write_calls).
    pub history: History,
    /// The figures, without a verdict.
    pub report: Report,
}

impl LoadError {
    /// For `map_err` of calls.
    pub(crate) fn call(what: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::Call { what, status: Box::new(status) }
    }
}
