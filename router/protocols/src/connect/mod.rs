//! What is Connect's own: the query of a GET, the headers of a request, errors, and the end of a stream.

pub(crate) mod error;
pub(crate) mod get;
pub(crate) mod headers;
pub(crate) mod stream;
pub(crate) mod unary;

/// The headers in which gRPC puts a status, which Connect sends in another form.
pub(crate) const STATUS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
