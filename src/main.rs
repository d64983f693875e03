//! The program `coupon`: a cluster in one process, its parts as processes of their own, and the
//! tools to form it, watch it and use it.
//!
//! Exit codes are part of the interface: 0 is success, 1 a failure, 2 a mistake in the command line
//! or the configuration, and 3 says that a node or a router must not run as it was started: its
//! cluster, data directory or identity is wrong, and restarting it changes nothing.

mod address;
mod backup;
mod campaign;
mod check;
mod client;
mod cluster;
mod config;
mod coupon;
mod demo;
mod failure;
mod health;
mod issue;
mod loadtest;
mod logging;
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

use clap::{Parser, Subcommand};

/// Requests are made on one thread and dropped on another, which the C library's allocator is slow
/// at, above all when it is linked statically.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives away a fixed number of coupons, first come first served, at an exact moment.
#[derive(Debug, Parser)]
#[command(name = "coupon", version, propagate_version = true, arg_required_else_help = true)]
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
    Issue(issue::IssueArgs),
    #[command(flatten)]
    Coupon(coupon::CouponCommand),
    Loadtest(Box<loadtest::LoadtestArgs>),
    Check(check::CheckArgs),
    Recover(recover::RecoverArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Health(health::HealthArgs),
    /// Prints the version.
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
            | Self::Issue(_)
            | Self::Coupon(_)
            | Self::Loadtest(_)
            | Self::Check(_)
            | Self::Recover(_)
            | Self::Config(_)
            | Self::Health(_)
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
            Self::Issue(args) => issue::run(args),
            Self::Coupon(command) => coupon::run(command),
            Self::Loadtest(args) => loadtest::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Recover(args) => recover::run(&args),
            Self::Config(command) => config::run(&command),
            Self::Health(args) => health::run(&args),
            Self::Version => output::line(concat!("coupon ", env!("CARGO_PKG_VERSION"))),
        }
    }
}

fn main() -> ExitCode {
    let Cli { logging, command } = Cli::parse();
    let ready = logging::init(&logging, command.default_log_level());
    #[cfg(feature = "mutants")]
    let ready = ready.and_then(|()| mutants::activate());
    let done = ready.and_then(|()| command.run());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
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
