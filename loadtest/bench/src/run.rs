//! `coupon-bench run`: all rounds, and the report.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cell::{Cell, Load, Sample, System};
use crate::conditions::Conditions;
use crate::results::Results;
use crate::session::Session;
use crate::systems::Systems;
use crate::table;

/// Numbers of calls in flight of the unary load.
const IN_FLIGHT: [usize; 3] = [64, 256, 1_024];

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
    /// Directory in which the nodes keep their data meanwhile; it should be on a disk
    /// [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the command.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    tokio::select! {
        done = measure(args) => done,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("catch Ctrl-C")?;
            bail!("interrupted")
        }
    }
}

async fn measure(args: RunArgs) -> anyhow::Result<()> {
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("coupon"),
    };
    let data = args.data.unwrap_or_else(std::env::temp_dir);
    let rounds = usize::from(args.rounds);
    let conditions = Conditions::look(&program, &data, rounds, args.seconds.into())?;
    println!("{}\n", table::conditions(&conditions));
    conditions.warnings().iter().for_each(|warning| println!("WARNING: {warning}"));
    let systems = Systems::start(&program, &data).await?;
    let mut session = Session::new(systems, Duration::from_secs(args.seconds.into())).await?;
    let mut results = Results::default();
    let plan = plan(&args.only);
    for round in 1..=rounds {
        for cell in &plan {
            let sample = session.measure(*cell).await.with_context(|| cell.to_string())?;
            eprintln!("round {round}/{rounds}  {}", line(*cell, &sample));
            results.add(*cell, sample);
        }
    }
    println!("{}\n", table::cells(&results));
    if let Some(model) = results.cost_model() {
        println!(
            "CPU over all roles: {:.1} µs per coupon + {:.2} ms per log entry (deviation up to {:.0} %)",
            model.per_coupon_us,
            model.per_entry_us / 1e3,
            model.deviation_max * 100.0
        );
    }
    verdict(session.faults())
}

/// The cells of a round, in the order in which they are measured: those that are compared follow each
/// other.
fn plan(only: &[Load]) -> Vec<Cell> {
    let unary = IN_FLIGHT.into_iter().flat_map(|in_flight| {
        let systems = [System::Echo, System::Coupon];
        systems.map(|system| Cell { load: Load::Unary, in_flight, system })
    });
    unary.filter(|cell| only.is_empty() || only.contains(&cell.load)).collect()
}

fn line(cell: Cell, sample: &Sample) -> String {
    format!(
        "{:<24} {:>8.0}/s  p50 {:.2} ms  p99 {:.2} ms",
        cell.to_string(),
        sample.per_second,
        sample.p50_ms,
        sample.p99_ms
    )
}

fn verdict(faults: &[String]) -> anyhow::Result<()> {
    if faults.is_empty() {
        println!("VERDICT: every coupon that was acknowledged was issued once, and no other");
        return Ok(());
    }
    for fault in faults {
        println!("VERDICT: {fault}");
    }
    bail!("the answers break a promise, or calls failed: the figures mean nothing")
}
