//! One process of the program.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_coupon");

/// How many lines of a log a failed test shows.
const LOG_LINES_SHOWN: usize = 40;

/// Has every sync of a program take longer.
const SLOW_DISK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chaos/slow-disk");

/// A call of the program with nothing inherited that could configure it.
pub(crate) fn coupon(args: &[&str]) -> Command {
    inheriting_nothing(Command::new(PROGRAM), args)
}

/// The same on a disk whose syncs take `sync` longer.
pub(crate) fn coupon_on_slow_disk(sync: &str, args: &[&str]) -> Command {
    let mut command = Command::new(SLOW_DISK);
    command.args([sync, PROGRAM]);
    inheriting_nothing(command, args)
}

/// The same with a limit of open files and connections.
pub(crate) fn coupon_with_descriptors(descriptors: usize, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""), PROGRAM]);
    inheriting_nothing(command, args)
}

fn inheriting_nothing(mut command: Command, args: &[&str]) -> Command {
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COUPON_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    coupon(args).output().expect("the program was just built")
}

/// A process that runs until it is told otherwise. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    /// Kept open, since a process whose output nobody takes dies of it.
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it logs is appended to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("open the log");
        let child = command.stdout(Stdio::piped()).stderr(file).spawn();
        let mut child = child.expect("the program was just built");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout, log: log.to_owned() }
    }

    /// Takes over a process with a piped output.
    pub(crate) fn adopt(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout, log: PathBuf::new() }
    }

    /// Reads its output up to a line that contains `text`.
    pub(crate) fn read_until(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let length = self.stdout.read_line(&mut line).expect("read its output");
            assert!(length > 0, "it ended before it said {text:?}");
        }
    }

    /// The address in the line with which nodes and routers say where they listen.
    pub(crate) fn address(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("read its output");
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        assert!(line.contains("listens on"), "it said {line:?} and logged\n{}", self.log());
        address.to_owned()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // A child is not reaped before it is waited for, so that the id is still its own.
        kill_process(id.expect("it has an id"), signal).expect("it is ours");
    }

    /// kill -9, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it is ours")
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is ours")
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_none()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is stopped or gone already dies just the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("--- the end of {}\n{}", self.log.display(), shown.join("\n"));
        }
    }
}
