//! Puts faults in force and heals them, by the scripts in `chaos/`.
//!
//! A script says what it did in its last line: `fault kind=KIND target=MEMBER,... at=NANOSECONDS`. One
//! that does not end in time is killed together with all it started.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often it is looked whether a script has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a script may take that breaks something: a minute for Docker, and some to find a leader.
const BREAK_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a rolling restart may take: of five nodes, each with 20 seconds to stop and 60 to serve.
const RESTART_TIMEOUT: Duration = Duration::from_secs(420);

/// How long healing may take: it gives members, and then leaders, 60 seconds each.
const HEAL_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a question to a container may take; digests read all of the state.
const ASK_TIMEOUT: Duration = Duration::from_secs(150);

/// How much of what a script says is kept.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// Runs scripts.
#[derive(Clone, Debug)]
pub struct Nemesis {
    /// The directory of the scripts.
    scripts: PathBuf,
}

/// What a script did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// To whom.
    pub targets: Vec<String>,
    /// When it was in force, by the wall clock.
    pub at: SystemTime,
    /// All that its last line says.
    pub fields: BTreeMap<String, String>,
}

/// Why a script did nothing.
#[derive(Debug, thiserror::Error)]
pub enum NemesisError {
    /// It could not be started.
    #[error("start {command}")]
    Start {
        /// What could not be started.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It did not end in time.
    #[error("{command} was killed after {} s", .after.as_secs())]
    Hung {
        /// What was killed.
        command: String,
        /// After how long.
        after: Duration,
    },
    /// It failed.
    #[error("{said}")]
    Failed {
        /// What it said.
        said: String,
    },
    /// Its last line is not as it should be.
    #[error("{command} ended with {line:?}")]
    LastLine {
        /// Who said it.
        command: String,
        /// The line.
        line: String,
    },
}

impl Nemesis {
    /// With the scripts in a directory.
    #[must_use]
    pub fn new(scripts: PathBuf) -> Self {
        Self { scripts }
    }

    /// Puts a fault in force.
    ///
    /// # Errors
    /// When the script fails, hangs, or does not say what it did. Something may have been done all the
    /// same.
    pub fn inflict(&self, script: &str, arguments: &[String]) -> Result<Done, NemesisError> {
        let timeout = if script == "restart" { RESTART_TIMEOUT } else { BREAK_TIMEOUT };
        self.script(script, arguments, timeout)
    }

    /// Heals everything, and waits until every member serves and every shard has a leader.
    ///
    /// # Errors
    /// When that does not come true within two minutes.
    pub fn heal(&self) -> Result<Done, NemesisError> {
        self.script("heal", &[], HEAL_TIMEOUT)
    }

    fn script(
        &self,
        script: &str,
        arguments: &[String],
        timeout: Duration,
    ) -> Result<Done, NemesisError> {
        let mut command = Command::new(self.scripts.join(script));
        command.arg("-q").args(arguments);
        let output = run(&mut command, timeout)?.success()?;
        let line = output.stdout.lines().last().unwrap_or_default();
        parse(line).ok_or_else(|| NemesisError::LastLine {
            command: format!("chaos/{script}"),
            line: line.to_owned(),
        })
    }
}

/// Asks Docker; the answer is kept also if the command says by its exit code that it is not content.
///
/// # Errors
/// When it cannot be started, or does not end in time.
pub(crate) fn docker(arguments: &[&str]) -> Result<String, NemesisError> {
    Ok(run(Command::new("docker").args(arguments), ASK_TIMEOUT)?.stdout)
}

/// How a command ended, and what it said.
pub(crate) struct Output {
    pub(crate) is_success: bool,
    pub(crate) stdout: String,
    stderr: String,
}

impl Output {
    /// Itself, of a command that succeeded.
    ///
    /// # Errors
    /// When it failed; the error holds its output.
    pub(crate) fn success(self) -> Result<Self, NemesisError> {
        if self.is_success {
            return Ok(self);
        }
        Err(NemesisError::Failed { said: self.stderr.trim().to_owned() })
    }
}

/// Runs a command to its end, in a process group of its own: Ctrl-C is for us, who have to heal.
///
/// # Errors
/// When it cannot be started, or does not end in time. How it ends is up to the caller.
pub(crate) fn run(command: &mut Command, timeout: Duration) -> Result<Output, NemesisError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |source| NemesisError::Start { command: name.clone(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let deadline = Instant::now() + timeout;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() >= deadline {
            kill(&mut child);
            return Err(NemesisError::Hung { command: name, after: timeout });
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    let text = |reader: Option<JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    Ok(Output { is_success: status.success(), stdout: text(stdout), stderr: text(stderr) })
}

/// Kills a child and all that it started.
fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // A process that has ended meanwhile need not be killed.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.wait();
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came until an error is what there is.
        let _ = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Reads the last line of a script.
fn parse(line: &str) -> Option<Done> {
    let fields: Option<BTreeMap<String, String>> = line
        .strip_prefix("fault ")?
        .split(' ')
        .map(|field| field.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let fields = fields?;
    let targets = fields.get("target")?.split(',').map(str::to_owned).collect();
    Some(Done { targets, at: wall(fields.get("at")?)?, fields })
}

impl Done {
    /// A time of the last line.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<SystemTime> {
        wall(self.fields.get(name)?)
    }

    /// How many packets were dropped until it ended.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        self.fields.get("dropped")?.parse().ok()
    }
}

/// The moment that is a number of nanoseconds after 1970.
fn wall(nanos: &str) -> Option<SystemTime> {
    let nanos = nanos.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_last_line_says_what_was_done() {
        let line =
            "fault kind=partition target=node-1,node-2 shard=3 shape=split dropped=17 at=1500";
        let done = parse(line).unwrap();
        assert_eq!(done.targets, ["node-1", "node-2"]);
        assert_eq!(done.at, SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500));
        assert_eq!((done.dropped(), done.time("until")), (Some(17), None));
        for wrong in ["", "fault", "fault kind=kill at=1", "fault target=a at=x", "killed a"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    fn script(text: &str) -> (tempfile::TempDir, Nemesis) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kill");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let nemesis = Nemesis::new(directory.path().to_owned());
        (directory, nemesis)
    }

    #[test]
    fn scripts_are_run() {
        let (_directory, nemesis) = script("echo noise; echo \"fault kind=kill target=$2 at=7\"");
        let done = nemesis.inflict("kill", &["node-4".to_owned()]).unwrap();
        assert_eq!(done.targets, ["node-4"]);
        let (_directory, nemesis) = script("echo 'no such shard' >&2; exit 1");
        let error = nemesis.inflict("kill", &[]).unwrap_err();
        assert_eq!(error.to_string(), "no such shard");
        assert!(nemesis.inflict("nothing", &[]).is_err());
    }

    #[test]
    fn a_script_that_hangs_is_killed_with_all_it_started() {
        let (directory, nemesis) = script("sleep 600 & echo $! > \"$0.pid\"; wait");
        let error = nemesis.script("kill", &[], Duration::from_millis(500)).unwrap_err();
        assert!(matches!(error, NemesisError::Hung { .. }), "{error}");
        let pid = std::fs::read_to_string(directory.path().join("kill.pid")).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let is_gone = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_gone() {
            assert!(Instant::now() < deadline, "the child lives on");
            std::thread::yield_now();
        }
    }
}
