//! The world outside that nodes and routers decide by: the time of day, and chance.
//!
//! Nodes and routers read no wall clock and draw no random value by themselves. What they need of either is
//! here, so that it can be seen, and so that a test says what time it is: it passes a [`SettableClock`] where
//! the program passes the [`SystemClock`].
//!
//! What is not here, on purpose: the monotonic clock (tokio's, which tests pause), timers and blocking work
//! (tokio's as well); everything that no member uses.

mod clock;
pub mod entropy;

pub use clock::{Clock, SettableClock, SystemClock};
