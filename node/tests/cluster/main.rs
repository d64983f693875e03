//! Whole clusters of nodes in one process, with real disks and real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod clocks;
mod distant;
mod holds;
mod lease;
mod rejoin;
mod serving;
mod silent_follower;
mod slow_link;
mod support;
