//! The server in front: what is let in, for how long, and how large it may be. Connections and protocols are those of
//! `coupon-protocols`. Knows one operation, the one that a crowd calls.

mod admission;
mod dispatch;
mod incomplete;
mod malformed;
mod pages;
pub(crate) mod server;
mod unary;

pub use admission::DEADLINE_MAX;
