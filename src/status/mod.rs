//! `coupon status`: what every node says about its replicas.

mod report;
mod tables;

use anyhow::{Context as _, bail};

use self::report::Report;
use crate::output::Format;
use crate::settings::Span;
use crate::survey::{ANSWER_TIMEOUT, DIGEST_TIMEOUT, Question, Survey, map_of};
use crate::{output, runtime};

/// Shows the nodes of a cluster and their replicas.
///
/// Exits with 1 if a shard has no leader or is stopped because it has two histories, if another node answers
/// at the address of one, if a node runs no replica, if a replica has lost entries, or if replicas that
/// applied the same entries differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon status --node 127.0.0.1:7001
  coupon status --node 127.0.0.1:7001,127.0.0.1:7002 --digests -o json")]
pub(crate) struct StatusArgs {
    /// Any node of the cluster; of several the first that answers is asked for the shard map
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7001")]
    node: Vec<String>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Also compute a digest of each replica's state; reads all of it
    #[arg(long)]
    digests: bool,
    /// How long a node may take to answer before it counts as unreachable
    /// [default: 3s, or 2m with --digests]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
}

/// Runs the command.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<()> {
    runtime::block_on(async {
        let usual = if args.digests { DIGEST_TIMEOUT } else { ANSWER_TIMEOUT };
        let timeout = args.timeout.map_or(usual, Span::get);
        let question = Question { digests: args.digests, timeout };
        let survey = Survey::take(first_map(&args.node).await?, question).await;
        let report = Report::of(&survey);
        match args.output {
            Format::Table => output::line(tables::render(&report))?,
            Format::Json => output::json(&report)?,
        }
        if report.problems.is_empty() {
            return Ok(());
        }
        bail!("{}", report.problems.join("\n"))
    })
}

async fn first_map(addresses: &[String]) -> anyhow::Result<coupon_proto::internal::ShardMap> {
    let mut last = None;
    for address in addresses {
        match map_of(address).await {
            Ok(map) => return Ok(map),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no node is named")?)
}
