//! `coupon check`: a verdict over a history that was saved.

use std::path::PathBuf;

use anyhow::bail;
use coupon_checker::Verdict;
use coupon_loadtest::history_file;

use crate::failure::UsageError;
use crate::output;
use crate::output::Format;

/// Judges a saved history.
///
/// `coupon loadtest --history FILE` saves one; faults and replicas may have been added since. The
/// verdict on a file is always the same. Exits with 1 if a promise was broken, or if faults were
/// planned and the run does not show that they were withstood; with 2 if the file is no history.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon check run.jsonl
  coupon check run.jsonl -o json")]
pub(crate) struct CheckArgs {
    /// The history
    #[arg(value_name = "HISTORY_FILE")]
    history: PathBuf,
    /// How the verdict is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let history = history_file::read(&args.history);
    let history =
        history.map_err(|error| UsageError(format!("{:#}", anyhow::Error::from(error))))?;
    let verdict = coupon_checker::check(&history);
    match args.output {
        Format::Table => output::line(verdict.to_string().trim_end())?,
        Format::Json => output::json(&verdict)?,
    }
    kept(&verdict)
}

/// Fails with a verdict in a few words.
///
/// # Errors
/// When it is not OK.
pub(crate) fn kept(verdict: &Verdict) -> anyhow::Result<()> {
    if !verdict.keeps_promises() {
        bail!("the system broke a promise");
    }
    if !verdict.is_ok() {
        bail!("the run proves nothing: not all faults were in force, or nothing was issued");
    }
    Ok(())
}
