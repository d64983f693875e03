//! Child processes. Dropping one kills it and waits until it is gone.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Maximum time for a process to say where it listens, or for a command to end.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval of looks whether a command has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Number of lines of a log that an error shows.
const LOG_LINES_SHOWN: usize = 20;

/// A process that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts it. Its standard error goes to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let (sender, lines) = channel();
        // The output is taken to its end, since a process whose output is not taken dies of it.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Only the first lines are waited for.
                let _ = sender.send(line);
            }
        });
        Ok(Self { child, lines, log: log.to_owned() })
    }

    /// The address in the line with which it says where it listens.
    pub(crate) fn address(&self) -> anyhow::Result<String> {
        let line = self.lines.recv_timeout(PROCESS_TIMEOUT).with_context(|| self.end_of_log())?;
        match line.rsplit_once("listens on ") {
            Some((_, address)) => Ok(address.trim().to_owned()),
            None => bail!("it said {line:?} instead of where it listens"),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it takes too long, or reports a failure.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + PROCESS_TIMEOUT;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("a process ended with {status}\n{}", self.end_of_log()),
                None if Instant::now() > deadline => bail!("a process does not end"),
                None => std::thread::sleep(LOOK_INTERVAL),
            }
        }
    }

    /// Why it has ended, if it has.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("a process ended with {status}\n{}", self.end_of_log()),
        }
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        format!("the end of {}:\n{}", self.log.display(), shown.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is gone already dies just the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A call of a program with nothing inherited that could configure it.
pub(crate) fn command(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["COUPON_", "ETCD_", "RUST_LOG"].iter().any(|begin| text.starts_with(begin)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end, with a deadline.
///
/// # Errors
/// When it cannot be started or takes too long. How it ends is up to the caller.
pub(crate) fn output(mut command: Command) -> anyhow::Result<Output> {
    let deadline = Instant::now() + PROCESS_TIMEOUT;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    // What these commands print fits into a pipe.
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{command:?} took more than {PROCESS_TIMEOUT:?}");
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(child.wait_with_output()?)
}
