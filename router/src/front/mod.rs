//! The server in front: its connections, what is let in, for how long, and how large it may be. Knows one operation,
//! the one that a crowd calls.

mod admission;
mod connections;
mod dispatch;
mod malformed;
pub(crate) mod server;
#[cfg(feature = "trace")]
mod socket;
mod unary;

pub use admission::DEADLINE_MAX;
