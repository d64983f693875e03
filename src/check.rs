//! `coupon check`: a verdict over a history that was saved.

use std::path::PathBuf;

use anyhow::bail;
use coupon_loadtest::history_file;

use crate::output;
use crate::output::Format;

/// Judges a saved history.
///
/// `coupon loadtest --history FILE` saves one; faults and replicas may have been added since. The
/// verdict on a file is always the same. Exits with 1 if a promise was broken.
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
    let history = history_file::read(&args.history)?;
    let verdict = coupon_checker::check(&history);
    match args.output {
        Format::Table => output::line(verdict.to_string().trim_end())?,
        Format::Json => output::json(&verdict)?,
    }
    if !verdict.is_ok() {
        bail!("the system broke a promise");
    }
    Ok(())
}
