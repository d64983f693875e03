//! Everything that is read before and after a load.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cell::{Role, Sample};
use crate::load::tally::Tally;
use crate::machine::usage::{Usage, thread_cpu_micros};

/// How long a look at processes takes whether they are at rest.
const REST_LOOK: Duration = Duration::from_millis(100);

/// CPU time that all of them together may use during a look: heartbeats need some.
const REST_CPU_MICROS: u64 = 20_000;

/// Maximum time to wait for rest. A compaction that takes longer is part of the measurement.
const REST_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits until processes have done what the last load left behind, such as a compaction.
pub(crate) async fn rest(pids: &[u32]) -> anyhow::Result<()> {
    let deadline = Instant::now() + REST_TIMEOUT;
    let mut before = Usage::of(pids)?;
    while Instant::now() < deadline {
        sleep(REST_LOOK).await;
        let now = Usage::of(pids)?;
        if (now - before).cpu_micros <= REST_CPU_MICROS {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// What was read before a load.
#[derive(Debug)]
pub(crate) struct Meter {
    roles: Vec<(Role, Vec<u32>)>,
    usages: Vec<Usage>,
    client_micros: u64,
    began: Instant,
}

impl Meter {
    /// Reads the counters of processes, just before they are given load by the calling thread.
    pub(crate) fn start(roles: Vec<(Role, Vec<u32>)>) -> anyhow::Result<Self> {
        let usages = usages(&roles)?;
        let client_micros = thread_cpu_micros()?;
        Ok(Self { roles, usages, client_micros, began: Instant::now() })
    }

    /// Reads them again, when the last call is answered. A load beside this one brought `beside` coupons, which
    /// share the CPU time.
    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds fit into 2^52")]
    pub(crate) fn stop(self, tally: &Tally, beside: u64) -> anyhow::Result<Sample> {
        let elapsed = self.began.elapsed();
        let client_micros = thread_cpu_micros()? - self.client_micros;
        let used = usages(&self.roles)?;
        let differences = used.into_iter().zip(self.usages).map(|(after, before)| after - before);
        let count = tally.all() + beside;
        let per_call = |amount: u64| amount as f64 / count.max(1) as f64;
        let mut switches = BTreeMap::new();
        let mut cpu_us = BTreeMap::new();
        for ((role, _), usage) in self.roles.iter().zip(differences) {
            cpu_us.insert(*role, per_call(usage.cpu_micros));
            switches.insert(*role, per_call(usage.switches));
        }
        Ok(Sample {
            per_second: tally.per_second(),
            p50_ms: tally.latency_ms(0.5),
            p99_ms: tally.latency_ms(0.99),
            p99_9_ms: tally.latency_ms(0.999),
            count,
            client_busy: client_micros as f64 / elapsed.as_micros() as f64,
            cpu_us,
            switches,
            log_entries: None,
            cold: None,
        })
    }
}

fn usages(roles: &[(Role, Vec<u32>)]) -> anyhow::Result<Vec<Usage>> {
    roles.iter().map(|(_, pids)| Usage::of(pids)).collect()
}
