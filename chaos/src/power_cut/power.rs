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
