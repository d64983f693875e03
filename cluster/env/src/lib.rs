//! Wall clock and randomness for nodes and routers.
//!
//! Nodes and routers read the time of day and draw random values only through this crate, so that every use is
//! visible and a test controls the time: it passes a [`SettableClock`] where the program passes the
//! [`SystemClock`].
//!
//! Deliberately absent: the monotonic clock, timers and blocking work, which are tokio's (tests pause its clock).

mod clock;
pub mod entropy;

pub use clock::{Clock, SettableClock, SystemClock};
