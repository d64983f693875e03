//! What is reported of the load.

use coupon_loadtest::{Bottleneck, Latency, Report};
use serde::Serialize;

/// The load as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// Coupons that were asked for.
    pub sent: u64,
    /// Coupons that were answered.
    pub issued: u64,
    /// Calls that were not answered as the API promises.
    pub errors: u64,
    /// Calls that were sent more than 10 ms after their time.
    pub late: u64,
    /// Calls that were never sent, since too many were under way.
    pub unsent: u64,
    /// What kept the load from being what was wished.
    pub bottleneck: Bottleneck,
    /// From the intended time to the final answer.
    pub latency: Latency,
    /// For how long.
    pub elapsed_seconds: f64,
}

impl From<Report> for LoadReport {
    fn from(report: Report) -> Self {
        Self {
            sent: report.sent,
            issued: report.issued,
            errors: report.errors,
            late: report.late,
            unsent: report.unsent,
            bottleneck: report.bottleneck,
            latency: report.latency,
            elapsed_seconds: report.elapsed_seconds,
        }
    }
}
