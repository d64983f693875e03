//! Logs go to standard error, for people or as JSON.

use std::fmt::Display;
use std::io::{IsTerminal as _, stderr};
use std::net::SocketAddr;
use std::sync::OnceLock;

use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::failure::UsageError;
use crate::output;

/// How and how much is logged.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// How logs are written
    #[arg(long, global = true, value_enum, default_value_t, env = "COUPON_LOG_FORMAT")]
    log_format: LogFormat,
    /// How much is logged; RUST_LOG goes further and takes filters such as "info,coupon_node=warn"
    /// [default: info for node and router, warn for all others]
    #[arg(long, global = true, value_enum, env = "COUPON_LOG_LEVEL")]
    log_level: Option<Level>,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum LogFormat {
    /// For people
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

/// How much is logged. (Debug and trace are not compiled in.)
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Level {
    /// Nothing
    Off,
    /// Faults that need attention
    Error,
    /// What may
    Warn,
    /// What happens
    Info,
}

impl Level {
    fn directive(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            // openraft warns of every call that an unreachable peer does not answer; what comes of
            // that is said by the node.
            Self::Warn => "warn,openraft=error",
            // Libraries tell their inner life at this level.
            Self::Info => {
                "warn,openraft=error,coupon=info,coupon_node=info,coupon_router=info,coupon_ledger=info"
            }
        }
    }
}

/// The format of this process.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Says on standard output where a server listens: in a line for people, or as JSON where logs are JSON.
///
/// # Errors
/// As [`output::line`].
pub(crate) fn announce(server: impl Display, address: SocketAddr) -> anyhow::Result<()> {
    match FORMAT.get().copied().unwrap_or_default() {
        LogFormat::Human => output::line(format!("{server} listens on {address}")),
        LogFormat::Json => {
            output::line(json!({ "message": format!("{server} listens"), "address": address }))
        }
    }
}

/// Starts logging. What the command line says goes before RUST_LOG, and that before the default.
///
/// # Errors
/// [`UsageError`] when RUST_LOG is no filter.
pub(crate) fn init(args: &LogArgs, default: Level) -> anyhow::Result<()> {
    FORMAT.get_or_init(|| args.log_format);
    let environment = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let directives = match (args.log_level, &environment) {
        (Some(level), _) => level.directive(),
        (None, Some(filter)) => filter,
        (None, None) => default.directive(),
    };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| UsageError(format!("RUST_LOG {directives:?}: {error}")))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match args.log_format {
        LogFormat::Human => logs.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
