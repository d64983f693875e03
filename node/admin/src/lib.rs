//! What a cluster looks like, for the program, the chaos tool, the benchmark and tests.
//!
//! ```text
//! any node ── map_of ──► ShardMap ── Survey::take ──► Survey ── ClusterStatus::new ──► JSON ──► ClusterStatus
//! ```
//!
//! - [`map_of`] and [`member_at`] ask one node.
//! - A [`Survey`] is what every node of a map answered, raw.
//! - A [`ClusterStatus`] is a survey as it is shown: every replica beside what the map says about it, and what
//!   is wrong. It is what `coupon status -o json` writes and what others read, so no reader has a type of its
//!   own.
//!
//! Deliberately absent: commands that change a cluster, and tables for people; those are the program's.

mod ask;
mod status;
mod survey;

pub use ask::{AskError, connect, map_of, member_at};
pub use status::{ClusterStatus, NodeState, NodeStatus, ReplicaStatus, ShardStatus};
pub use survey::{ANSWER_TIMEOUT, DIGEST_TIMEOUT, NoAnswer, NodeAnswer, Question, Survey};
