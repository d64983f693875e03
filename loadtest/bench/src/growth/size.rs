//! How much memory processes and how much disk directories take.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Memory of a process, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Resident now.
    pub(super) now: f64,
    /// The most that was ever resident.
    pub(super) most: f64,
}

/// The largest memory among processes.
///
/// # Errors
/// When one is gone.
pub(super) fn memory(pids: &[u32]) -> anyhow::Result<Memory> {
    let mut largest = Memory::default();
    for pid in pids {
        let gone = || format!("process {pid} is gone");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(gone)?;
        let field = |name| mebibytes(&status, name).with_context(gone);
        largest.now = largest.now.max(field("VmRSS:")?);
        largest.most = largest.most.max(field("VmHWM:")?);
    }
    Ok(largest)
}

fn mebibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes / 1_024.0)
}

/// The bytes of the files below a directory, of all and of those with sorted tables.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn disk(dir: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut all, mut tables) = (0, 0);
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry?;
        // Files may be deleted meanwhile.
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            let (more, more_tables) = disk(&entry.path())?;
            all += more;
            tables += more_tables;
        } else {
            all += found.len();
            let is_table = |extension: &std::ffi::OsStr| extension == "sst" || extension == "table";
            if entry.path().extension().is_some_and(is_table) {
                tables += found.len();
            }
        }
    }
    Ok((all, tables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(mebibytes(status, "VmHWM:"), Some(4.0));
        assert_eq!(mebibytes(status, "VmSwap:"), None);
        assert!(memory(&[std::process::id()]).unwrap().now > 0.0);
    }

    #[test]
    fn tables_are_counted_among_all_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db")).unwrap();
        fs::write(dir.path().join("db/1.sst"), [0; 10]).unwrap();
        fs::write(dir.path().join("db/1.log"), [0; 5]).unwrap();
        assert_eq!(disk(dir.path()).unwrap(), (15, 10));
    }
}
