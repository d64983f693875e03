//! The shards a node has replicas of: running them, proposing to them, keeping them as the shard
//! map says they should be.
//!
//! - [`proposer`]: commands in, one log entry for everything that waits.
//! - [`registry`]: which replicas run here.
//! - [`caretaker`]: what the leader of a shard does besides leading.
//! - [`divergence`]: a shard that has two histories stops.
//! - [`hand_over`]: how leadership moves without an election timeout.

pub mod caretaker;
pub mod divergence;
pub mod hand_over;
pub mod proposer;
pub mod registry;
