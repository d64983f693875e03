//! `coupon-bench run`: all rounds, and the report.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::cell::{Cell, Load, Sample};
use crate::machine::conditions::Conditions;
use crate::plan::{self, Selection};
use crate::report::Report;
use crate::report::results::Results;
use crate::report::table;
use crate::session::Session;
use crate::systems::Systems;

/// Measures Coupon and its peers in interleaved rounds.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The program to measure [default: coupon, beside this program]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Number of rounds; each measures every cell once
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Length of one measurement in seconds
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: u16,
    /// Loads to measure [default: all]
    #[arg(long, value_name = "LOAD,...", value_delimiter = ',', value_enum)]
    only: Vec<Load>,
    /// Measure unary calls of Redis and etcd as well; loadtest/bench/install-peers installs them
    #[arg(long)]
    databases: bool,
    /// Directory in which the nodes keep their data meanwhile; it should be on a disk
    /// [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory for bench.json and bench.html [default: neither is written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Measures until the end, or until the process is asked to end. What is measured is dropped then, and with it all
/// processes and files.
pub(crate) async fn until_interrupted(
    measuring: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    tokio::select! {
        done = measuring => done,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("catch Ctrl-C")?;
            bail!("interrupted")
        }
        _ = terminate.recv() => bail!("terminated"),
    }
}

/// Runs the command.
pub(crate) async fn measure(args: RunArgs) -> anyhow::Result<()> {
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("coupon"),
    };
    let data = args.data.unwrap_or_else(std::env::temp_dir);
    let rounds = usize::from(args.rounds);
    let conditions = Conditions::look(&program, &data, rounds, args.seconds.into())?;
    println!("{}", table::conditions(&conditions));
    let mut systems = Systems::start(&program, &data).await?;
    if args.databases {
        systems.start_databases().await?;
    }
    let mut session = Session::new(systems, Duration::from_secs(args.seconds.into())).await?;
    let selection = Selection { only: args.only, databases: args.databases };
    let results = all_rounds(&mut session, rounds, &selection).await;
    let report = Report::new(conditions, &results, session.faults());
    println!("{}", report.text(&results));
    if let Some(dir) = args.out {
        report.write(&dir, &results)?;
        println!("written: {} and bench.json beside it", dir.join("bench.html").display());
    }
    if !report.faults.is_empty() {
        bail!("answers break a promise, or calls failed: the figures mean nothing");
    }
    Ok(())
}

/// Measures round by round. The first fault ends it, since nothing that follows would mean anything.
async fn all_rounds(session: &mut Session, rounds: usize, selection: &Selection) -> Results {
    let mut results = Results::default();
    for number in 1..=rounds {
        for cell in plan::round(number, selection) {
            match session.measure(cell).await {
                Ok(sample) => {
                    eprintln!("round {number}/{rounds}  {}", line(cell, &sample));
                    results.add(cell, sample);
                }
                Err(error) => session.blame(cell, &[format!("{error:#}")]),
            }
            if !session.faults().is_empty() {
                return results;
            }
        }
    }
    results
}

/// One measurement, for those who watch.
fn line(cell: Cell, sample: &Sample) -> String {
    format!(
        "{:<28} {:>8.0}/s  p50 {:>6.2} ms  p99 {:>6.2} ms  CPU {:>6.1} µs",
        cell.to_string(),
        sample.per_second,
        sample.p50_ms,
        sample.p99_ms,
        sample.cpu_us_total()
    )
}
