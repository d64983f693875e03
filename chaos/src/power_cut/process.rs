//! A process of the program. Dropping it kills it.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A process, in a group of its own: Ctrl-C is not for it.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts it. What it says is appended to the file `log`.
    ///
    /// # Errors
    /// When the program cannot be run, or the file not be written.
    pub(super) fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let said = File::options().create(true).append(true).open(log)?;
        let logged = said.try_clone()?;
        command.stdin(Stdio::null()).stdout(said).stderr(logged).process_group(0);
        Ok(Self { child: command.spawn()? })
    }

    /// Its id, which is its own until it is waited for.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is gone already need not be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
