//! The shards a node has replicas of: running them, proposing to them, keeping them as the shard
//! map says they should be.
//!
//! - [`proposer`]: commands in, one log entry for everything that waits.
//! - `direct`: answers to commands that change nothing, without the log.
//! - `pending_reopenings`: entries on their way that such answers have to wait for.
//! - `stamps`: the times of entries and of reads.
//! - [`submission`]: commands that came together, and the queues in which they wait.
//! - [`registry`]: which replicas run here.
//! - [`reconciler`]: what the leader of a shard does besides leading.
//! - `preference`: when a leader makes way for the one that the map prefers.
//! - `log_retention`: what is purged of a log.
//! - `stall`: a leader whose entries do not get through steps aside.
//! - `leaderless`: when the log says that no leader is heard.
//! - [`divergence`]: a shard that has two histories stops.
//! - [`leadership_transfer`]: how leadership moves without an election timeout.

mod direct;
pub mod divergence;
mod leaderless;
pub mod leadership_transfer;
mod log_retention;
mod pending_reopenings;
mod preference;
pub mod proposer;
pub mod reconciler;
pub mod registry;
mod stall;
mod stamps;
pub mod submission;
