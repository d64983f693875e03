//! `coupon completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{Cli, output};

/// Prints a script that lets a shell complete commands and arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon completions bash > ~/.local/share/bash-completion/completions/coupon
  coupon completions zsh > ~/.zfunc/_coupon
  coupon completions fish > ~/.config/fish/completions/coupon.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "coupon", &mut script);
    output::bytes(&script)
}
