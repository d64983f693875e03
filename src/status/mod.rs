//! `coupon status`: what every node says about its replicas.

mod tables;

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail};
use coupon_admin::{ANSWER_TIMEOUT, ClusterStatus, DIGEST_TIMEOUT, Question, Survey, map_of};
use coupon_cluster::ShardMap;
use futures::future::join_all;
use tokio::time::timeout;

use crate::output::Format;
use crate::settings::Span;
use crate::{failure, output, runtime};

/// Shows the nodes of a cluster and their replicas.
///
/// Exits with 1 if a shard has no leader or is stopped because it has two histories, if a node does not answer, if
/// another node answers at the address of one, if a node of --node belongs to another cluster, if a node runs no replica, if a
/// replica has lost entries, or if replicas that applied the same entries differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon status --node 127.0.0.1:7001
  coupon status --node 127.0.0.1:7001,127.0.0.1:7002 --digests -o json")]
pub(crate) struct StatusArgs {
    /// Any node of the cluster; of several, one that belongs to another cluster is a problem
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7001")]
    node: Vec<String>,
    /// The cluster to show [default: the one that most of the nodes belong to]
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// Output format
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
        let (map, others) = map_of_all(&args.node, args.cluster_id.as_deref()).await?;
        let mut status = ClusterStatus::new(&Survey::take(map, question).await);
        status.problems.extend(others);
        match args.output {
            Format::Table => output::line(tables::render(&status))?,
            Format::Json => output::json(&status)?,
        }
        if status.problems.is_empty() {
            return Ok(());
        }
        bail!("{}", status.problems.join("\n"))
    })
}

/// The shard map of a cluster, and what is wrong with the nodes that were asked for it: they belong to others.
/// Without a cluster id, it is the cluster that most of the nodes belong to, as for a router.
async fn map_of_all(
    addresses: &[String],
    cluster_id: Option<&str>,
) -> anyhow::Result<(ShardMap, Vec<String>)> {
    let asked = addresses.iter().map(|address| async move {
        let late = |_| Err(anyhow!("the node at {address} does not answer"));
        let answer = timeout(ANSWER_TIMEOUT, map_of(address)).await;
        (address, answer.map_or_else(late, |map| map.map_err(failure::of_node)))
    });
    let mut clusters: BTreeMap<String, Vec<(&String, ShardMap)>> = BTreeMap::new();
    let mut last = None;
    for (address, answer) in join_all(asked).await {
        match answer {
            Ok(map) => clusters.entry(map.cluster_id.clone()).or_default().push((address, map)),
            Err(error) => last = Some(error),
        }
    }
    let members = |id: &str| clusters.get(id).map_or(0, Vec::len);
    let most = clusters.keys().max_by_key(|id| members(id)).cloned();
    let (shown, rivals) = match (cluster_id, most) {
        (Some(wanted), _) => (wanted.to_owned(), 0),
        (None, Some(most)) => {
            let equal = clusters.keys().filter(|id| members(id) == members(&most)).count();
            (most, equal - 1)
        }
        (None, None) => return Err(last.context("no node is named")?),
    };
    let shown_nodes = clusters.remove(&shown).unwrap_or_default();
    let others: Vec<String> = clusters
        .iter()
        .flat_map(|(id, nodes)| {
            nodes.iter().map(move |(at, _)| format!("the node at {at} belongs to cluster {id}"))
        })
        .collect();
    if rivals > 0 {
        bail!(
            "as many of the nodes belong to cluster {shown} as to another one: name one with --cluster-id\n{}",
            others.join("\n")
        );
    }
    match shown_nodes.into_iter().next() {
        Some((_, map)) => Ok((map, others)),
        None if others.is_empty() => Err(last.context("no node is named")?),
        None => bail!("no node of cluster {shown} answers\n{}", others.join("\n")),
    }
}
