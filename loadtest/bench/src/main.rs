//! `coupon-bench`: measures Coupon next to peers that do less, on one machine, in interleaved rounds.
//!
//! A machine is never the same for long, so a figure alone says little. Each round measures every system
//! once, and what counts is the ratio of two systems in the same round. The peers are child processes of
//! this program: an echo that answers without doing anything, and a proxy that forwards call by call.
//! `make bench` builds everything and runs it.
//!
//! Exit codes: 0 everything was measured and every promise kept; 1 not so; 2 a mistake in the command line.

mod cell;
mod cold;
mod growth;
mod load;
mod machine;
mod meter;
mod plan;
mod recipients;
mod report;
mod run;
mod scale;
mod session;
mod systems;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::systems::{echo, proxy};

/// The same allocator as the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Coupon next to peers on the same machine.
#[derive(Debug, Parser)]
#[command(name = "coupon-bench", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Growth(growth::GrowthArgs),
    Scale(scale::ScaleArgs),
    Recipients(recipients::RecipientsArgs),
    /// Answers IssueCoupon without doing anything, until it is killed
    Echo,
    /// Forwards IssueCoupon call by call, until it is killed
    Proxy {
        /// The server to forward to
        #[arg(long, value_name = "HOST:PORT")]
        to: String,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => block_on(run::until_interrupted(run::measure(args))),
        Command::Growth(args) => block_on(run::until_interrupted(growth::measure(args))),
        Command::Recipients(args) => block_on(run::until_interrupted(recipients::measure(args))),
        Command::Scale(args) => block_on(run::until_interrupted(scale::measure(args))),
        Command::Echo => block_on(echo::serve()),
        Command::Proxy { to } => block_on(proxy::serve(&to)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime()?.block_on(future)
}

/// A runtime for the current thread: every process of the benchmark has one runtime thread, as nodes and routers
/// do, unless it is several callers at once.
fn runtime() -> anyhow::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("start the asynchronous runtime")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
