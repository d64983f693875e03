//! `coupon health`: the question a container's supervisor asks.

use anyhow::{anyhow, bail};
use coupon_proto::LIVE_SERVICE;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::Connection;
use crate::failure::{CallError, UsageError};
use crate::settings::Span;
use crate::{failure, output, runtime};

/// Asks a node or a router whether it serves.
///
/// Exits with 0 if it does and with 1 if not.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  coupon health 127.0.0.1:7000\n  coupon health --live 127.0.0.1:7001"
)]
pub(crate) struct HealthArgs {
    /// The node or router
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// Ask only whether it lives: a router without nodes and a node without a quorum live, and do not serve
    #[arg(long)]
    live: bool,
    /// How long the answer may take, the connection included
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    timeout: Span,
}

/// Runs the command.
pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<()> {
    // A supervisor of containers knows 0 and 1 alone.
    let failed = |error: anyhow::Error| match error.downcast::<UsageError>() {
        Ok(usage) => usage.into(),
        Err(error) => anyhow!("{}", failure::causes(&error)),
    };
    runtime::block_on(ask(args)).map_err(failed)
}

async fn ask(args: &HealthArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.address, args.timeout).await?;
    let service = if args.live { LIVE_SERVICE } else { "" }.to_owned();
    let question = connection.request(HealthCheckRequest { service });
    let answer = HealthClient::new(connection.channel()).check(question).await;
    let answer = answer.map_err(CallError::from)?;
    match answer.into_inner().status() {
        ServingStatus::Serving if args.live => output::line("alive"),
        ServingStatus::Serving => output::line("serving"),
        ServingStatus::NotServing | ServingStatus::Unknown | ServingStatus::ServiceUnknown => {
            bail!("{} does not serve", args.address)
        }
    }
}
