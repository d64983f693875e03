//! Power cuts of nodes that have file systems of their own, under load, with a verdict.
//!
//! - A disk is an ext4 image on a loop device. Three `coupon node`s have their data on one each.
//! - A cut kills the processes and makes their file systems drop what was not synced: dirty pages are
//!   gone, and the journal stays as it is on the disk. Then the disks are mounted again, which replays
//!   the journal, and the nodes are started.
//! - The [plan](plan()) follows from the seed: mostly all nodes lose power, sometimes two or one of them,
//!   and in some rounds once more while they start.
//! - The load is that of `coupon-loadtest`, an open loop that repeats calls without an answer. Campaigns
//!   are small and are followed by new ones when they are sold out, so that cuts meet their last coupons.
//! - In the end everything is read back and judged, the replicas' digests with it. A node that does not
//!   come back, ends by itself, or finds that its store has lost what it acknowledged fails the run.
//!
//! Caveats. A disk with a volatile write cache loses more: here, writes that the file system issued without a
//! flush survive. Each process is killed just before its disk is cut: a sync in progress while ext4 shuts down
//! may report success for data that is lost, which a real power cut never does. The router keeps its power.

mod cluster;
mod disk;
mod error;
mod plan;
mod power;
mod process;
mod report;
mod run;

pub use error::PowerCutError;
pub use plan::{Again, Round, plan};
pub use report::{Material, NodesReport, Report};
pub use run::{Ended, Incident, Settings, run};
