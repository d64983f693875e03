//! `coupon cluster remove-node` and `forget`: taking a node out of a cluster, for ever.

use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_proto::internal::{RemoveNodeRequest, ReplicaRole, ShardMap};
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::CallError;
use crate::output;
use crate::settings::Span;
use crate::survey::{map_of, member_at};

/// The pause between two looks at how far the cluster is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Which cluster is asked, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// The node that is to go
    #[arg(value_name = "NODE_ID")]
    node_id: u64,
    /// Any other node of the cluster; of several the first that answers is asked
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7001")]
    node: Vec<String>,
    /// How long all of it may take; what was begun goes on afterwards
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Span,
}

/// Takes the node out, and waits until it is gone.
pub(super) async fn run(args: &RemoveArgs, only_unused: bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + args.timeout.get();
    let done = timeout_at(deadline, remove(args, only_unused)).await;
    done.with_context(|| {
        format!("not done within {}: it goes on, ask again to wait", args.timeout)
    })?
}

async fn remove(args: &RemoveArgs, only_unused: bool) -> anyhow::Result<()> {
    let (address, map) = first_map(&args.node).await?;
    let id = args.node_id;
    if !map.nodes.iter().any(|node| node.node_id == id) {
        bail!("cluster {} has no node {id}", map.cluster_id);
    }
    let mut client = member_at(&address).await?;
    let request = RemoveNodeRequest { node_id: id, only_unused };
    let answer = client.remove_node(request).await.map_err(CallError::from)?;
    let mut map = answer.into_inner().map.context("the node sent no shard map")?;
    let mut told = None;
    while map.nodes.iter().any(|node| node.node_id == id) {
        let left = replicas_on(&map, id);
        if told != Some(left) {
            eprintln!("node {id} has {left} replicas left that others take over");
            told = Some(left);
        }
        sleep(LOOK_INTERVAL).await;
        map = first_map(&args.node).await?.1;
    }
    output::line(format!("node {id} is no longer in cluster {}", map.cluster_id))
}

/// How many replicas a node still has to hand over.
fn replicas_on(map: &ShardMap, node_id: u64) -> usize {
    let replicas = map.shards.iter().flat_map(|shard| &shard.replicas);
    let on_it = replicas.filter(|replica| replica.node_id == node_id);
    on_it.filter(|replica| replica.role() != ReplicaRole::Unspecified).count()
}

async fn first_map(addresses: &[String]) -> anyhow::Result<(String, ShardMap)> {
    let mut last = None;
    for address in addresses {
        match map_of(address).await {
            Ok(map) => return Ok((address.clone(), map)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no node is named")?)
}
