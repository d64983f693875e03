//! The switch: takes the power of nodes away.

use std::process::Command;
use std::time::Duration;

use super::disk::Disk;
use super::process::Process;
use crate::nemesis::{NemesisError, run};

/// The program behind the switch. It is not Rust, whose only way to this ioctl is unsafe code.
const SCRIPT: &str = include_str!("power.py");

/// Maximum time until it has done so.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Takes the power of some nodes away, of all at the same moment. When it returns, their processes are
/// dying, and nothing reaches their disks any more.
///
/// # Errors
/// When the power of one of them is still there.
pub(super) fn cut<'a>(
    nodes: impl Iterator<Item = (&'a Process, &'a Disk)>,
) -> Result<(), NemesisError> {
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]);
    command.args(
        nodes.map(|(process, disk)| format!("{}:{}", process.id(), disk.mount_point().display())),
    );
    run(&mut command, TIMEOUT)?.success().map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;
    use crate::power_cut::disk;

    #[test]
    fn what_was_not_synced_is_gone_and_the_rest_is_there() {
        if let Err(error) = disk::check() {
            eprintln!("SKIPPED, since there is no disk to cut: {error}");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::make(dir.path(), "disk").unwrap();
        let write = |name: &str| {
            let mut file = File::create(disk.mount_point().join(name)).unwrap();
            file.write_all(b"a coupon").unwrap();
            file
        };
        write("synced").sync_all().unwrap();
        drop(write("written"));
        let log = dir.path().join("log");
        let mut process = Process::start(Command::new("sleep").arg("600"), &log).unwrap();
        cut([(&process, &disk)].into_iter()).unwrap();
        assert!(File::create(disk.mount_point().join("late")).is_err());
        while process.ended().is_none() {
            std::thread::yield_now();
        }
        disk.power_on().unwrap();
        let kept = disk.mount_point().join("synced");
        assert_eq!(std::fs::read(kept).unwrap(), b"a coupon");
        assert!(!disk.mount_point().join("written").exists());
    }
}
