//! The stateless front door of Coupon.
//!
//! A router checks the shape of a request, finds the shard that owns the campaign, hands the request
//! to the node that leads the shard, and retries what is safe to retry until the caller's deadline.
//! Any number of routers serve the same cluster; none of them keeps anything that another one needs.
//!
//! Invariants:
//!
//! - Every command carries a `request_id`, the caller's or one of our making, and every attempt of
//!   the command carries the same one. The ledger deduplicates it, so a retry never issues twice.
//! - A command that may have been proposed and got no answer is reported as `OUTCOME_UNKNOWN`,
//!   never as failed.
//! - Every queue has a named bound and every wait ends at a deadline.
//! - A router belongs to one cluster for life. Every call names the node that it is for. So nothing is sent
//!   to, or accepted from, a node of another cluster that listens at an address of this one.
//!
//! Deliberately absent: Raft, storage, and any decision about quota, window or recipient. Those are
//! the ledger's; the router only carries its answers.

mod answer;
mod front;
mod op;
mod route;
mod shards;

pub use front::DEADLINE_MAX;
pub use front::server::{RouterConfig, RouterError, RouterHandle, start};
pub use route::retry::Timing;
pub use shards::directory::WrongCluster;
