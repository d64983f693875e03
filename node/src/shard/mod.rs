//! The shards a node has replicas of: running them, proposing to them, keeping them as the shard
//! map says they should be.
//!
//! - [`proposer`]: commands in, one log entry for everything that waits.
//! - [`registry`]: which replicas run here.
//! - [`caretaker`]: what the leader of a shard does besides leading.

pub mod caretaker;
pub mod proposer;
pub mod registry;
