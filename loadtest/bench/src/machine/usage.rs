//! CPU time and context switches of processes, as the kernel counts them.

use std::fs;
use std::ops::Sub;

use anyhow::Context as _;

/// CPU time in /proc is counted in hundredths of a second on Linux (USER_HZ).
const TICK_MICROS: u64 = 10_000;

/// What processes have used so far, or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// In user and system mode together, in microseconds. Resolution: 10 ms.
    pub(crate) cpu_micros: u64,
    /// Voluntary and involuntary context switches of the threads that are alive.
    pub(crate) switches: u64,
}

impl Usage {
    /// Of all threads of some processes, from their start to now.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn of(pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let gone = || format!("process {pid} is gone");
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(gone)?;
            sum.cpu_micros += ticks(&stat).with_context(gone)? * TICK_MICROS;
            for thread in fs::read_dir(format!("/proc/{pid}/task")).with_context(gone)? {
                // Threads may end meanwhile.
                let status =
                    thread.and_then(|thread| fs::read_to_string(thread.path().join("status")));
                sum.switches += switches(&status.unwrap_or_default());
            }
        }
        Ok(sum)
    }
}

/// CPU time of the calling thread so far, in microseconds. Resolution: 10 ms.
pub(crate) fn thread_cpu_micros() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/thread-self/stat").context("read this thread's usage")?;
    Ok(ticks(&stat).context("read this thread's usage")? * TICK_MICROS)
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu_micros: self.cpu_micros.saturating_sub(earlier.cpu_micros),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

/// The fields utime and stime of /proc/PID/stat. The name before them may contain anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn switches(status: &str) -> u64 {
    let counts = status.lines().filter(|line| line.contains("ctxt_switches:"));
    counts.filter_map(|line| line.rsplit(char::is_whitespace).next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0";
        assert_eq!(ticks(stat), Some(100));
        assert_eq!(ticks("7 (a) S 1"), None);
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(switches(status), 42);
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(&[std::process::id()]).unwrap();
        assert!(usage.switches > 0);
        assert!(Usage::of(&[0]).is_err());
    }
}
