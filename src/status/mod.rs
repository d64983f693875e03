//! `coupon status`: what every node says about its replicas.

mod report;
mod tables;

use anyhow::{Context as _, anyhow, bail};
use tokio::time::timeout;

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
    /// Any node of the cluster; of several, those that answer must belong to one cluster
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7001")]
    node: Vec<String>,
    /// The cluster to show; nodes of others are an error [default: the one that the nodes belong to]
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
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
        let survey =
            Survey::take(map_of_all(&args.node, args.cluster_id.as_deref()).await?, question).await;
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

/// The shard map of the cluster that the nodes at these addresses belong to.
async fn map_of_all(
    addresses: &[String],
    cluster_id: Option<&str>,
) -> anyhow::Result<coupon_proto::internal::ShardMap> {
    let asked = addresses.iter().map(|address| async move {
        let late = |_| Err(anyhow!("the node at {address} does not answer"));
        (address, timeout(ANSWER_TIMEOUT, map_of(address)).await.unwrap_or_else(late))
    });
    let (mut first, mut last): (Option<(&String, coupon_proto::internal::ShardMap)>, _) =
        (None, None);
    for (address, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(map) if cluster_id.is_some_and(|wanted| wanted != map.cluster_id) => {
                last = Some(anyhow!("the node at {address} belongs to cluster {}", map.cluster_id));
            }
            Ok(map) => match &first {
                Some((other, known)) if known.cluster_id != map.cluster_id => bail!(
                    "the nodes at {other} and {address} belong to different clusters, {} and {}: name one with \
                     --cluster-id",
                    known.cluster_id,
                    map.cluster_id
                ),
                Some(_) => {}
                None => first = Some((address, map)),
            },
            Err(error) => last = Some(error),
        }
    }
    match first {
        Some((_, map)) => Ok(map),
        None => Err(last.context("no node is named")?),
    }
}
