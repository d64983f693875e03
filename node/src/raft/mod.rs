//! Everything that touches openraft: the one place to look at when its interface moves.
//!
//! - [`types`]: our types for its type parameters, and their form on disk and on the wire.
//! - [`log_store`]: log, vote and purge mark in RocksDB, durable before reported.
//! - [`state_machine`]: apply, snapshots.
//! - [`consistency_check`]: replicas compare what they hold.
//! - [`closed_campaigns`]: which requests are worth answering without the log.
//! - [`revisions`]: whoever waits for a campaign to change is told.
//! - [`restored`]: how a replica of a restored cluster begins.
//! - [`network`]: the calling side of replication; [`crate::api::raft`] is the other side.
//! - [`acknowledged`], [`witness`]: a replica that forgot acknowledged entries never continues.
//! - [`marks`]: what passes here, for a trace.
//! - [`history`]: committed entries are never replaced by others.
//! - [`replica`]: one running replica; [`progress`]: what it is doing; `membership`: changes of its group;
//!   `succession`: who leads next; `heartbeats`, `hearing`: how a leader is heard; `elections`: when a replica stands for
//!   election; `purging`: what is purged of its log.

pub mod acknowledged;
pub mod closed_campaigns;
pub mod consistency_check;
mod elections;
mod hearing;
mod heartbeats;
pub mod history;
pub mod log_store;
pub mod marks;
mod membership;
pub mod network;
pub mod options;
pub mod progress;
mod purging;
pub mod replica;
pub mod restored;
pub mod revisions;
pub mod state_machine;
mod state_transfers;
mod succession;
pub mod terms;
pub mod types;
pub mod witness;
