//! Under what conditions a run was made.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use serde::Serialize;

use crate::machine::process::{command, output};

/// Number of appends whose sync is timed.
const SYNCS: usize = 200;

/// Size of each append: one page.
const APPEND_BYTES: usize = 4_096;

/// Load average above which other work on the machine disturbs the figures.
const LOAD_AVERAGE_MAX: f64 = 0.5;

/// Sync latency below which a file system does not sync to any disk.
const SYNC_MIN_MS: f64 = 0.02;

/// What figures depend on besides the program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Conditions {
    began: String,
    cores: usize,
    cpu: String,
    kernel: String,
    load_average: f64,
    data: PathBuf,
    fdatasync_p50_ms: f64,
    fdatasync_p99_ms: f64,
    program: PathBuf,
    program_version: String,
    program_profile: String,
    bench_profile: String,
    commit: String,
    rounds: usize,
    seconds: f64,
}

impl Conditions {
    /// Looks at the machine, before it is given load.
    pub(crate) fn look(
        program: &Path,
        data: &Path,
        rounds: usize,
        seconds: f64,
    ) -> anyhow::Result<Self> {
        let (p50, p99) = sync_latency_ms(data).context("time fdatasync")?;
        let version = output(command(program, &["version"]))?.stdout;
        let this = std::env::current_exe()?;
        Ok(Self {
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu_model(),
            kernel: read("/proc/sys/kernel/osrelease"),
            load_average: load_average(),
            data: data.to_owned(),
            fdatasync_p50_ms: p50,
            fdatasync_p99_ms: p99,
            program: program.to_owned(),
            program_version: String::from_utf8_lossy(&version).trim().to_owned(),
            program_profile: profile(program),
            bench_profile: profile(&this),
            commit: commit(),
            rounds,
            seconds,
        })
    }

    /// The conditions, by name.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let sync =
            format!("p50 {:.2} ms, p99 {:.2} ms", self.fdatasync_p50_ms, self.fdatasync_p99_ms);
        vec![
            ("began", self.began.clone()),
            ("machine", format!("{} cores, {}, Linux {}", self.cores, self.cpu, self.kernel)),
            ("load average", format!("{:.2}", self.load_average)),
            ("fdatasync of 4 KiB", format!("{sync}, in {}", self.data.display())),
            ("program", format!("{} ({})", self.program.display(), self.program_version)),
            ("profiles", format!("{}, peers {}", self.program_profile, self.bench_profile)),
            ("commit", self.commit.clone()),
            ("measured", format!("{} rounds of {} s per cell", self.rounds, self.seconds)),
        ]
    }

    /// Why the figures may mislead.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.load_average > LOAD_AVERAGE_MAX {
            warnings.push(format!(
                "the load average was {:.2} before the run: other work disturbs the figures",
                self.load_average
            ));
        }
        if self.fdatasync_p50_ms < SYNC_MIN_MS {
            let data = self.data.display();
            warnings.push(format!("{data} is not on a disk: name a directory that is with --data"));
        }
        if self.program_profile != self.bench_profile {
            warnings.push(format!(
                "the program is built as {}, and its peers as {}: their ratios mislead",
                self.program_profile, self.bench_profile
            ));
        }
        warnings
    }
}

/// The median and the 99th percentile of appends that are synced one by one.
fn sync_latency_ms(dir: &Path) -> anyhow::Result<(f64, f64)> {
    let mut file = tempfile::tempfile_in(dir)?;
    let page = [0x5a; APPEND_BYTES];
    let mut latencies = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        latencies.push(began.elapsed().as_secs_f64() * 1e3);
    }
    latencies.sort_by(f64::total_cmp);
    Ok((latencies[SYNCS / 2], latencies[SYNCS * 99 / 100]))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn cpu_model() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown CPU".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Average number of processes that wanted to run in the last minute.
fn load_average() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// Cargo's profile, which names the directory that a program is built in.
fn profile(program: &Path) -> String {
    let dir = program.parent().and_then(Path::file_name);
    dir.map_or_else(|| "unknown".to_owned(), |dir| dir.to_string_lossy().into_owned())
}

/// The commit that is checked out where the benchmark is started.
fn commit() -> String {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(args);
        let answer = output(command).ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changes = git(&["status", "--porcelain", "--untracked-files=no"]).unwrap_or_default();
    if changes.is_empty() { commit } else { format!("{commit}, with changes") }
}
