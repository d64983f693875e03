//! What a run must reach to be called good: for scripts, which look at the exit code.

use std::time::Duration;

use crate::report::Report;

/// Limits of a run; those that are `None` are not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The 99th percentile of the latency of all calls, those given up included. It is missed as well
    /// if calls were never sent, since it is not known how long they would have waited.
    pub p99_max: Option<Duration>,
    /// Calls a second that were answered as the campaign promises.
    pub rate_min: Option<u64>,
    /// Calls that were not.
    pub errors_max: Option<u64>,
    /// The longest time without a call that was answered as the campaign promises.
    pub gap_max: Option<Duration>,
}

impl Thresholds {
    /// What a run missed, in words; empty if nothing.
    #[must_use]
    pub fn missed(&self, report: &Report) -> Vec<String> {
        let mut missed = Vec::new();
        if let Some(max) = self.p99_max {
            let (p99, max) = (report.latency.p99_ms, max.as_secs_f64() * 1e3);
            if report.unsent > 0 {
                let unsent = report.unsent;
                missed.push(format!(
                    "{unsent} calls were never sent, which takes longer than {max} ms"
                ));
            }
            if p99 > max {
                missed.push(format!("99 % of the calls took up to {p99} ms, not {max} ms"));
            }
        }
        if let Some(min) = self.rate_min {
            let rate = report.served_per_second;
            if rate < min {
                missed.push(format!("{rate} calls a second were served, not {min}"));
            }
        }
        if let Some(max) = self.errors_max {
            // What was never sent was not served either.
            let errors = report.errors + report.unsent;
            if errors > max {
                missed.push(format!("{errors} calls failed, not at most {max}"));
            }
        }
        if let Some(max) = self.gap_max {
            let (gap, max) = (report.longest_gap_ms, max.as_secs_f64() * 1e3);
            if gap > max {
                missed.push(format!("nothing was served for {gap} ms, not at most {max} ms"));
            }
        }
        missed
    }
}
