//! The meta shard: how a node learns the shard map, and how it has it changed.

pub mod follow;
pub mod propose;
pub mod read;
pub mod store;
