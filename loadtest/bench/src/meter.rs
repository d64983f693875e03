//! Everything that is read before and after a load.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cell::{Role, Sample, System};
use crate::load::tally::Tally;
use crate::machine::usage::Usage;
use crate::systems::Systems;

/// How long a look at the systems takes whether they are at rest.
const REST_LOOK: Duration = Duration::from_millis(100);

/// CPU time that all systems together may use during a look: heartbeats need some.
const REST_CPU_MICROS: u64 = 20_000;

/// Maximum time to wait for rest. A compaction that takes longer is part of the measurement.
const REST_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits until what the last load left behind, such as a compaction, is done.
pub(crate) async fn rest(systems: &Systems) -> anyhow::Result<()> {
    let deadline = Instant::now() + REST_TIMEOUT;
    let all = systems.all();
    let mut before = Usage::of(&all)?;
    while Instant::now() < deadline {
        sleep(REST_LOOK).await;
        let now = Usage::of(&all)?;
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
    applied_index: Option<u64>,
    began: Instant,
}

impl Meter {
    /// Reads the counters of a system, just before it is given load.
    pub(crate) fn start(systems: &Systems, system: System) -> anyhow::Result<Self> {
        let roles = systems.processes(system)?;
        // First what takes CPU time itself.
        let applied_index = systems.applied_index(system)?;
        let usages = usages(&roles)?;
        Ok(Self { roles, usages, applied_index, began: Instant::now() })
    }

    /// Reads them again, when the last call is answered.
    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds fit into 2^52")]
    pub(crate) fn stop(
        self,
        systems: &Systems,
        system: System,
        tally: &Tally,
    ) -> anyhow::Result<Sample> {
        let elapsed = self.began.elapsed();
        let used = usages(&self.roles)?;
        let applied_index = systems.applied_index(system)?;
        let differences = used.into_iter().zip(self.usages).map(|(after, before)| after - before);
        let per_call = |amount: u64| amount as f64 / tally.all().max(1) as f64;
        let mut switches = BTreeMap::new();
        let mut cpu_us = BTreeMap::new();
        let mut client_busy = 0.0;
        for ((role, _), usage) in self.roles.iter().zip(differences) {
            cpu_us.insert(*role, per_call(usage.cpu_micros));
            switches.insert(*role, per_call(usage.switches));
            if *role == Role::Client {
                client_busy = usage.cpu_micros as f64 / elapsed.as_micros() as f64;
            }
        }
        Ok(Sample {
            per_second: tally.per_second(),
            p50_ms: tally.latency_ms(0.5),
            p99_ms: tally.latency_ms(0.99),
            p99_9_ms: tally.latency_ms(0.999),
            count: tally.all(),
            client_busy,
            cpu_us,
            switches,
            log_entries: applied_index
                .zip(self.applied_index)
                .map(|(after, before)| after - before),
        })
    }
}

fn usages(roles: &[(Role, Vec<u32>)]) -> anyhow::Result<Vec<Usage>> {
    roles.iter().map(|(_, pids)| Usage::of(pids)).collect()
}
