//! Why a request is refused before a service sees it.

use std::borrow::Cow;

use thiserror::Error;
use tonic::{Code, Status};

/// What is wrong with a request, in a sentence for its caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A message is larger than it may be, as it was sent or after decompression.
    #[error("the message must not be larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// A message has more items in its repeated fields than it may have, those of nested messages included.
    #[error("the message must not have more than {items_max} items in its repeated fields")]
    TooManyItems {
        /// The bound.
        items_max: usize,
    },
    /// A message or a header cannot be read.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The client asks for what is not there: a method, a compression, a number of messages.
    #[error("{0}")]
    Unsupported(Cow<'static, str>),
    /// A message claims to be compressed, and no header says how.
    #[error("a message is marked as compressed, but no header names the compression")]
    NoEncoding,
}

impl Refusal {
    /// As the status that the specifications of gRPC and Connect ask for.
    #[must_use]
    pub fn status(&self) -> Status {
        let code = match self {
            Self::TooLarge { .. } | Self::TooManyItems { .. } => Code::ResourceExhausted,
            Self::Invalid(_) => Code::InvalidArgument,
            Self::Unsupported(_) => Code::Unimplemented,
            Self::NoEncoding => Code::Internal,
        };
        Status::new(code, self.to_string())
    }

    /// A message or a header that cannot be read; `what` says why.
    pub(crate) fn invalid(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(what.into())
    }
}
