//! How much of the machine's processors is left over.

use std::fs;

use anyhow::Context as _;

/// What all processors together have done since the machine started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processors {
    idle: u64,
    all: u64,
}

impl Processors {
    /// Reads the counters.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        parse(&stat).context("read /proc/stat")
    }

    /// Share of the time since then in which no process wanted to run. Time that another virtual machine took
    /// is not idle.
    #[expect(clippy::cast_precision_loss, reason = "ticks of some seconds fit into 2^52")]
    pub(crate) fn idle_since(self, then: Self) -> f64 {
        // The kernel may correct the time of waiting for disks downwards.
        let idle = self.idle.saturating_sub(then.idle);
        idle as f64 / self.all.saturating_sub(then.all).max(1) as f64
    }
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal; guests are counted among users.
fn parse(stat: &str) -> Option<Processors> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Processors { idle: ticks.get(3)? + ticks.get(4)?, all: ticks.iter().sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_disks_is_idle_and_guests_are_counted_once() {
        let then = parse("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2\n").unwrap();
        assert_eq!(then, Processors { idle: 80, all: 100 });
        let now = parse("cpu  60 0 30 90 10 0 5 5 9 0\n").unwrap();
        assert!((now.idle_since(then) - 0.2).abs() < 1e-9);
        assert_eq!(parse("intr 1 2 3"), None);
        assert!(Processors::now().is_ok());
    }
}
