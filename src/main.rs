//! The program `coupon`: a cluster in one process, its parts as processes of their own, and the
//! tools to form it, watch it and use it.
//!
//! Exit codes are part of the interface; [`failure::Kind`] lists them.

mod address;
mod backup;
mod campaign;
mod check;
mod client;
mod cluster;
mod completions;
mod config;
mod coupon;
mod demo;
mod failure;
mod health;
mod issue;
mod loadtest;
mod logging;
mod man;
#[cfg(feature = "mutants")]
mod mutants;
mod node;
mod output;
mod recover;
mod restore;
mod router;
mod runtime;
mod settings;
mod show;
mod status;
#[cfg(feature = "trace")]
mod trace;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Requests are made on one thread and dropped on another, which the C library's allocator is slow
/// at, above all when it is linked statically.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives away a fixed number of coupons, first come first served, at an exact moment.
#[derive(Debug, Parser)]
#[command(name = "coupon", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  coupon demo
  coupon campaign create spring --quota 1000
  coupon issue spring --recipient ann -o json

Exit codes:
  0  it is done
  1  it failed: the message says why
  2  the command line or the configuration is wrong
  3  a node or a router must not run as it was started; restarting it changes nothing
  4  the call was refused; nothing was changed
  5  the outcome is unknown: repeat the command with the same --request-id
  6  no router or node could answer, and nothing was changed: try again later

With -o json, a failure is a JSON object on standard error: kind, exit_code, message, and of a call its code, reason
and details.")]
struct Cli {
    #[command(flatten)]
    logging: logging::LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Node(settings::node::NodeArgs),
    Router(settings::router::RouterArgs),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    Status(status::StatusArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    Watch(campaign::watch::WatchArgs),
    Events(campaign::events::EventsArgs),
    Issue(issue::IssueArgs),
    #[command(flatten)]
    Coupon(coupon::CouponCommand),
    Loadtest(Box<loadtest::LoadtestArgs>),
    Check(check::CheckArgs),
    Recover(recover::RecoverArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Health(health::HealthArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    /// Prints the version.
    #[command(after_help = "Examples:\n  coupon version")]
    Version,
}

impl Command {
    fn default_log_level(&self) -> logging::Level {
        match self {
            Self::Node(_) | Self::Router(_) => logging::Level::Info,
            Self::Demo(_)
            | Self::Cluster(_)
            | Self::Status(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Campaign(_)
            | Self::Watch(_)
            | Self::Events(_)
            | Self::Issue(_)
            | Self::Coupon(_)
            | Self::Loadtest(_)
            | Self::Check(_)
            | Self::Recover(_)
            | Self::Config(_)
            | Self::Health(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Version => logging::Level::Warn,
        }
    }

    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Demo(args) => demo::run(args),
            Self::Node(args) => node::run(&args),
            Self::Router(args) => router::run(&args),
            Self::Cluster(command) => cluster::run(command),
            Self::Status(args) => status::run(&args),
            Self::Backup(args) => backup::run(args),
            Self::Restore(args) => restore::run(args),
            Self::Campaign(command) => campaign::run(command),
            Self::Watch(args) => campaign::watch::run(args),
            Self::Events(args) => campaign::events::run(args),
            Self::Issue(args) => issue::run(args),
            Self::Coupon(command) => coupon::run(command),
            Self::Loadtest(args) => loadtest::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Recover(args) => recover::run(&args),
            Self::Config(command) => config::run(&command),
            Self::Health(args) => health::run(&args),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
            Self::Version => output::line(concat!("coupon ", env!("CARGO_PKG_VERSION"))),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Cli::command().get_matches();
    let format = output::format_of(&arguments);
    let Cli { logging, command } =
        Cli::from_arg_matches(&arguments).unwrap_or_else(|error| error.exit());
    let ready = logging::init(&logging, command.default_log_level());
    #[cfg(feature = "mutants")]
    let ready = ready.and_then(|()| mutants::activate());
    let done = ready.and_then(|()| command.run());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A command and all that are nested in it, each with its name.
    fn commands(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let nested = command.get_subcommands().filter(|nested| nested.get_name() != "help");
        let nested =
            nested.flat_map(|nested| commands(nested, &format!("{name} {}", nested.get_name())));
        std::iter::once((name.to_owned(), command.clone())).chain(nested).collect()
    }

    /// The words of a command line: quotes keep blanks together.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for symbol in line.chars() {
            let last = words.last_mut().expect("there is one");
            match quote {
                Some(open) if symbol == open => quote = None,
                None if symbol == '"' || symbol == '\'' => quote = Some(symbol),
                None if symbol == ' ' => words.push(String::new()),
                _ => last.push(symbol),
            }
        }
        assert_eq!(quote, None, "{line}");
        words
    }

    #[test]
    fn every_command_has_examples_and_all_of_them_are_understood() {
        let mut wrong = Vec::new();
        for (name, command) in commands(&Cli::command(), "coupon") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
            let lines = examples.lines().map_while(|line| line.strip_prefix("  "));
            // A shell takes what it writes into a file or to another command.
            let lines: Vec<_> = lines
                .filter_map(|line| line.split(" > ").flat_map(|line| line.split(" | ")).next())
                .collect();
            if !command.has_subcommands() && !lines.iter().any(|line| line.starts_with(&name)) {
                wrong.push(format!("{name} has no example"));
            }
            for line in lines {
                if let Err(error) = Cli::try_parse_from(words(line)) {
                    wrong.push(format!("{name}: {line}: {error}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
