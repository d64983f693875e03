//! Whole clusters of nodes in one process, with real disks and real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod clocks;
mod distant;
#[allow(dead_code, reason = "the ledger's own tests use the rest")]
#[path = "../../ledger/tests/properties/history.rs"]
mod history;
mod holds;
mod long_packets;
#[allow(dead_code, reason = "the ledger's own tests use the rest")]
#[path = "../../ledger/tests/properties/model.rs"]
mod model;
mod model_agreement;
mod rejoin;
mod serving;
mod silent_follower;
mod slow_link;
mod support;
