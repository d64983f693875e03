//! `coupon-chaos`: breaks a cluster under load, and judges what it did. The scripts `chaos/run` and
//! `chaos/power-cut` build and call it.
//!
//! Exit codes: 0 every promise was kept and every threshold reached; 1 not so; 2 a mistake in the
//! command line.

mod files;
mod machine;
mod power_cut;
mod run;

use std::process::ExitCode;

use clap::Parser;

/// Breaks a cluster under load, and judges what it did.
#[derive(Debug, Parser)]
#[command(version)]
enum Cli {
    Run(run::Run),
    PowerCut(power_cut::PowerCut),
}

fn main() -> ExitCode {
    let (name, kept) = match &Cli::parse() {
        Cli::Run(cli) => ("run", run::carry_out(cli)),
        Cli::PowerCut(cli) => ("power-cut", power_cut::carry_out(cli)),
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos/{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
