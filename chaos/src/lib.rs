//! Load and a seeded sequence of faults together, with a verdict: on the cluster of `compose.cluster.yml`,
//! and [power cuts](power_cut) on disks of their own. Of the first:
//!
//! - The [plan](plan()) follows from the seed: which faults, in which order, on which shards.
//! - The [nemesis](Nemesis) puts one after the other in force with the scripts in `chaos/`, which wait
//!   until it is, and heals it.
//! - The load is that of `coupon-loadtest`: an open loop in this process, on a thread of its own.
//! - When all is healed and quiet, everything is read back and judged, the faults and the replicas'
//!   digests with it. A fault that was not in force makes the run fail.
//!
//! **RTO**: a fault hits shard S and is in force at t. The RTO is the time from t to the first answer
//! with a coupon of S to a call that was sent after t. Calls that were sent before prove nothing: they
//! may have been decided before. When all containers were killed, t is when the last one was started
//! again, and the slowest shard counts. When a router was cut off from the leader of S, only answers
//! through that router count.
//!
//! Caveats. The scripts' times are of the wall clock, the recording's of a monotonic one; they are
//! translated as of the beginning, so that a clock that is set meanwhile shifts them. The seed fixes
//! the plan, and not which node leads or what the network does. Memory is that of the load: some 500
//! bytes a call.

mod calls;
mod cluster;
mod elections;
mod fault_report;
mod figures;
mod incident;
mod kind;
mod load;
mod load_report;
mod nemesis;
mod picture;
mod plan;
pub mod power_cut;
mod progress;
mod recovery;
mod report;
mod run;
mod settings;
mod stop;
mod thresholds;
mod topology;

pub use calls::{Asked, Ending};
pub use cluster::ClusterError;
pub use elections::Election;
pub use fault_report::{FaultReport, KindReport};
pub use figures::Figures;
pub use incident::{Effect, Incident, Times, effects};
pub use kind::{COUNT_MAX, Count, Kind, Measure, NoCount};
pub use load::Outcomes;
pub use load_report::LoadReport;
pub use nemesis::{Done, Nemesis, NemesisError};
pub use picture::{NoPicture, Scene, svg};
pub use plan::{Step, plan};
pub use recovery::{Gap, Success, Successes};
pub use report::{Circumstances, Material, Report};
pub use run::{Ended, RunError, run};
pub use settings::Settings;
pub use stop::Stop;
pub use thresholds::Thresholds;
pub use topology::{Topology, Unfit, digests};
