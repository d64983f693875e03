//! `coupon man`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::{Cli, output};

/// Prints the manual page, or writes a page for every command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon man
  coupon man --to ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIRECTORY")]
    to: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &ManArgs) -> anyhow::Result<()> {
    if let Some(directory) = &args.to {
        let written = std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
        return written.with_context(|| format!("write manual pages into {}", directory.display()));
    }
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page)?;
    output::bytes(&page)
}
