//! Limits on the CPU time of processes: each gets a control group (cgroup) of its own, of version 2 or 1,
//! whichever the machine has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Time over which a share is counted, in microseconds: the kernel's own default. A process that has used its
/// share stands still for the rest of it.
const PERIOD_US: u64 = 100_000;

/// A place where control groups can be made.
#[derive(Debug)]
pub(crate) struct ControlGroups {
    mount: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A limit on one process. Dropping it removes its group: the process must be gone then.
#[derive(Debug)]
pub(crate) struct CpuLimit {
    dir: PathBuf,
}

impl ControlGroups {
    /// Finds where groups with limits on CPU time can be made.
    ///
    /// # Errors
    /// When they cannot be made, with what to do about it.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
        let found = candidates(&mounts).find(Self::has_cpu);
        let advice = "the CPU time of nodes cannot be limited, and without that nothing is measured: it needs \
                      root, and control groups that are mounted with the controller `cpu`";
        let found = found.context(advice)?;
        found.allow().and_then(|()| found.probe()).context(advice)?;
        Ok(found)
    }

    /// Limits a process with all its threads to `percent` of one processor.
    pub(crate) fn limit(&self, pid: u32, percent: u16) -> anyhow::Result<CpuLimit> {
        let quota_us = PERIOD_US * u64::from(percent) / 100;
        let limit = CpuLimit::create(self.mount.join(format!("coupon-bench-{pid}")))?;
        match self.version {
            Version::One => {
                limit.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
                limit.write("cpu.cfs_quota_us", &quota_us.to_string())?;
            }
            Version::Two => limit.write("cpu.max", &format!("{quota_us} {PERIOD_US}"))?,
        }
        limit.write("cgroup.procs", &pid.to_string())?;
        Ok(limit)
    }

    fn has_cpu(&self) -> bool {
        match self.version {
            // Named in the options of the mount.
            Version::One => true,
            Version::Two => fs::read_to_string(self.mount.join("cgroup.controllers"))
                .is_ok_and(|controllers| controllers.split_whitespace().any(|one| one == "cpu")),
        }
    }

    /// Lets groups below the mount have limits.
    fn allow(&self) -> anyhow::Result<()> {
        match self.version {
            Version::One => Ok(()),
            Version::Two => write(&self.mount.join("cgroup.subtree_control"), "+cpu"),
        }
    }

    /// Makes and removes a group.
    fn probe(&self) -> anyhow::Result<()> {
        let name = format!("coupon-bench-probe-{}", std::process::id());
        CpuLimit::create(self.mount.join(name)).map(drop)
    }
}

/// The periods over which a limit was counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Periods {
    all: u64,
    at_limit: u64,
}

impl Periods {
    /// Part of the periods since then in which the process used up its share and wanted more.
    #[expect(clippy::cast_precision_loss, reason = "ten periods a second fit into 2^52")]
    pub(crate) fn at_limit_since(self, then: Self) -> f64 {
        (self.at_limit - then.at_limit) as f64 / (self.all - then.all).max(1) as f64
    }

    fn parse(stat: &str) -> Option<Self> {
        let field = |name| {
            let value = stat.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse().ok()
        };
        Some(Self { all: field("nr_periods ")?, at_limit: field("nr_throttled ")? })
    }
}

impl CpuLimit {
    /// The periods so far; those in which the process rests do not count.
    pub(crate) fn periods(&self) -> anyhow::Result<Periods> {
        let path = self.dir.join("cpu.stat");
        let failed = || format!("read {}", path.display());
        let stat = fs::read_to_string(&path).with_context(failed)?;
        Periods::parse(&stat).with_context(failed)
    }

    fn create(dir: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self { dir })
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        write(&self.dir.join(file), text)
    }
}

impl Drop for CpuLimit {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.dir) {
            eprintln!("remove {}: {error}", self.dir.display());
        }
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("write {text:?} to {}", path.display());
    // Of a file that is not there none is made.
    if !path.exists() {
        bail!("{} is not there", path.display());
    }
    fs::write(path, text).with_context(failed)
}

/// The mounts of control groups that may have the controller for CPU time.
fn candidates(mounts: &str) -> impl Iterator<Item = ControlGroups> {
    mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (mount, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let version = match kind {
            "cgroup" if options.split(',').any(|option| option == "cpu") => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        Some(ControlGroups { mount: mount.into(), version })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_where_the_controller_is() {
        let mounts = "proc /proc proc rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n";
        let found: Vec<ControlGroups> = candidates(mounts).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].version, Version::One);
        assert_eq!(found[0].mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found[1].version, Version::Two);
    }

    #[test]
    fn controllers_of_version_two_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let groups = ControlGroups { mount: dir.path().to_owned(), version: Version::Two };
        assert!(!groups.has_cpu());
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io\n").unwrap();
        assert!(groups.has_cpu());
    }

    #[test]
    fn periods_are_read_as_the_kernel_writes_them() {
        let then = Periods::parse("nr_periods 10\nnr_throttled 8\nthrottled_time 5\n").unwrap();
        let now = Periods::parse("usage_usec 7\nnr_periods 30\nnr_throttled 18\n").unwrap();
        assert!((now.at_limit_since(then) - 0.5).abs() < 1e-9);
        assert_eq!(Periods::parse("nr_periods 1\n"), None);
    }

    #[test]
    fn a_limit_is_written_as_the_kernel_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("cpu.max"), "1 2").is_err());
        fs::write(dir.path().join("cpu.max"), "max 100000").unwrap();
        write(&dir.path().join("cpu.max"), "1 2").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("cpu.max")).unwrap(), "1 2");
    }
}
