//! One member of a Coupon cluster.
//!
//! A node hosts a replica of each of many shards. A shard is a Raft group; a replica is its log
//! and its state machine, all of them in the node's one RocksDB. Routers send commands to the node
//! that leads a shard:
//!
//! ```text
//! api::shard → shard::proposer → raft::replica → raft::log_store (one sync for all shards)
//!                → quorum → raft::state_machine → coupon_ledger → one write batch → outcomes
//! ```
//!
//! Absent on purpose: validation of what clients send (the router's), rules about coupons (the
//! ledger's), coupon codes (the router makes them from counters).

pub mod api;
pub mod clock;
pub mod codec;
pub mod config;
pub mod meta;
pub mod node;
pub mod peers;
pub mod raft;
pub mod recovery;
pub mod registration;
pub mod server;
pub mod shard;
pub mod storage;
mod stream_writer;
mod ticks;
mod workers;

#[cfg(feature = "mutants")]
pub use coupon_ledger::mutants;

pub use config::NodeConfig;
pub use node::StopReason;
pub use raft::options::RaftOptions;
pub use server::{NodeError, NodeHandle, start};
