//! `coupon backup`: saves the state of a running cluster in a directory, and checks that such a directory is
//! whole.

mod manifest;
mod take;
mod verify;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use self::manifest::Manifest;
pub(crate) use self::verify::{Backup, verify};
use crate::settings::Span;
use crate::{output, runtime};

/// Takes a backup of a running cluster.
///
/// The backup includes everything that was acknowledged before the command began. Each shard is consistent by
/// itself; the shards are not from one common instant. The manifest is written last: a directory without one
/// is not a backup.
///
/// The directory holds the keys that codes are made with, all codes that were issued, and their
/// recipients. Only its owner can read it: keep it so.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  coupon backup --node 127.0.0.1:7001,127.0.0.1:7002 --to /backup/2026-11-27
  coupon backup verify /backup/2026-11-27")]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// Nodes of the cluster; the first ones that answer are asked
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7001")]
    node: Vec<String>,
    /// The directory to write to; created if it does not exist, and must be empty if it does
    #[arg(long, value_name = "DIR", required = true)]
    to: Option<PathBuf>,
    /// Maximum time for which a shard may send nothing; the whole backup may take longer
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Span,
}

/// Other operations on a backup.
#[derive(Debug, clap::Subcommand)]
enum BackupCommand {
    /// Reads a whole backup and checks that it is complete and undamaged. Needs no cluster.
    #[command(after_help = "Examples:\n  coupon backup verify /backup/2026-11-27")]
    Verify {
        /// The backup
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Runs the command.
pub(crate) fn run(args: BackupArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let progress = progress();
    let (manifest, word) = match (args.command, args.to) {
        (Some(BackupCommand::Verify { dir }), _) => {
            let backup = verify(&dir, &progress)?;
            (backup.manifest, "is whole: ")
        }
        (None, to) => {
            let to = to.context("--to is required")?;
            let taking = take::take(&args.node, &to, args.timeout.get(), &progress);
            (runtime::block_on(taking).context("take a backup")?, "")
        }
    };
    progress.finish_and_clear();
    output::line(format!(
        "backup of cluster {} {word}{} shards, {} coupons, {} bytes, {:.1} s",
        manifest.cluster_id,
        manifest.shards.len(),
        manifest.coupons(),
        manifest.bytes(),
        began.elapsed().as_secs_f64()
    ))
}

/// A progress bar on standard error, if that is a terminal.
pub(crate) fn progress() -> ProgressBar {
    let template = "{spinner} {elapsed_precise}  {bytes} of {total_bytes}  {bytes_per_sec}  {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::no_length().with_style(style.expect("the template is a constant that was tried"))
}
