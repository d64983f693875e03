//! The server in front: what is let in, for how long, and how large it may be. Knows no operation.

mod admission;
mod malformed;
pub(crate) mod server;

pub use admission::DEADLINE_MAX;
