//! `coupon config`: what a node or a router would run with.

use crate::output;
use crate::settings::node::{NodeArgs, check_data};
use crate::settings::router::RouterArgs;

/// Shows the configuration that a node or router would run with.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  coupon config print node
  coupon config check router --config /etc/coupon/router.toml")]
pub(crate) enum ConfigCommand {
    /// Checks the configuration; exits with 2 if nothing would run with it
    #[command(subcommand)]
    Check(Part),
    /// Prints the effective configuration as TOML, complete or not
    #[command(subcommand)]
    Print(Part),
}

/// Whose configuration.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Part {
    /// The configuration of `coupon node`, given the same flags
    #[command(after_help = "\
Examples:
  coupon config check node --config /etc/coupon/node.toml
  coupon config print node --config /etc/coupon/node.toml")]
    Node(NodeArgs),
    /// The configuration of `coupon router`, given the same flags
    #[command(after_help = "\
Examples:
  coupon config check router --config /etc/coupon/router.toml
  coupon config print router --nodes 127.0.0.1:7001")]
    Router(RouterArgs),
}

/// Runs the command.
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(part) => {
            match part {
                Part::Node(args) => check_data(&args.load()?.config()?.data_dir)?,
                Part::Router(args) => drop(args.load()?.config()?),
            }
            output::line("the configuration is good")
        }
        ConfigCommand::Print(part) => {
            let text = match part {
                Part::Node(args) => toml::to_string(&args.load()?)?,
                Part::Router(args) => toml::to_string(&args.load()?)?,
            };
            output::line(text.trim_end())
        }
    }
}
