//! Whole clusters of nodes in one process, with real disks and real sockets.

mod clocks;
mod rejoin;
mod serving;
mod support;
