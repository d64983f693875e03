//! What a run is to be.

use std::path::PathBuf;
use std::time::Duration;

use coupon_loadtest::Conditions;

use crate::kind::Count;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the plan is derived from.
    pub seed: u64,
    /// How many faults of which kinds.
    pub faults: Vec<Count>,
    /// How many coupons are asked for a second.
    pub rate: u32,
    /// How many campaigns they are spread over.
    pub campaigns: u32,
    /// The time between two faults.
    pub settle: Duration,
    /// The addresses of the routers, in the order of their numbers; where there are none, those that
    /// the routers of the project publish.
    pub routers: Vec<String>,
    /// The name of the Compose project.
    pub project: String,
    /// The directory of the scripts.
    pub scripts: PathBuf,
    /// For the report of the load.
    pub conditions: Conditions,
}
