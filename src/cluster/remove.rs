//! `coupon cluster remove-node` and `forget`: remove a node from a cluster, for ever.

use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_admin::{map_of, member_at};
use coupon_client::is_transient;
use coupon_cluster::{NodeId, ShardMap};
use coupon_proto::internal::RemoveNodeRequest;
use coupon_wire::map::map_from_pb;
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{CallError, UsageError, of_node};
use crate::output;
use crate::settings::Span;

/// Interval between checks of the progress.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The node to remove, and the cluster to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// The node to remove
    #[arg(value_name = "NODE_ID")]
    node_id: u64,
    /// Other nodes of the cluster; the first that answers is asked
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7001")]
    node: Vec<String>,
    /// How long to wait; the removal goes on afterwards
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Span,
}

/// Removes the node, and waits until it is gone.
pub(super) async fn run(args: &RemoveArgs, only_unused: bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + args.timeout.get();
    let done = timeout_at(deadline, remove(args, only_unused)).await;
    done.with_context(|| {
        format!(
            "not done within {}: the removal goes on; run the command again to wait for it",
            args.timeout
        )
    })?
}

async fn remove(args: &RemoveArgs, only_unused: bool) -> anyhow::Result<()> {
    let map = first_map(&args.node).await?;
    let id = NodeId::new(args.node_id).map_err(|error| UsageError(format!("NODE_ID: {error}")))?;
    if !map.nodes.contains_key(&id) {
        bail!("cluster {} has no node {id}", map.cluster_id);
    }
    // The node that is asked may be the one that goes.
    let others = map.nodes.iter().filter(|(node, _)| **node != id);
    let mut nodes: Vec<String> = others.map(|(_, node)| node.address.clone()).collect();
    nodes.extend(args.node.iter().cloned());
    let mut map = loop {
        match decide(&nodes, RemoveNodeRequest { node_id: id.get(), only_unused }).await {
            Ok(map) => break map,
            // The meta shard may be electing a leader.
            Err(again) if is_temporary(&again) => sleep(LOOK_INTERVAL).await,
            Err(error) => return Err(error),
        }
    };
    let mut told = None;
    while map.nodes.contains_key(&id) {
        let left = replicas_on(&map, id);
        if told != Some(left) {
            eprintln!("node {id}: replicas left to move to other nodes: {left}");
            told = Some(left);
        }
        sleep(LOOK_INTERVAL).await;
        map = first_map(&nodes).await?;
    }
    output::line(format!("node {id} is no longer in cluster {}", map.cluster_id))
}

/// The number of replicas that other nodes still have to take over.
fn replicas_on(map: &ShardMap, node: NodeId) -> usize {
    let replicas = map.shards.values().flat_map(|replicas| replicas.values());
    replicas.filter(|replica| replica.node == node).count()
}

pub(super) async fn first_map(addresses: &[String]) -> anyhow::Result<ShardMap> {
    let mut last = None;
    for address in addresses {
        match map_of(address).await {
            Ok(map) => return Ok(map),
            Err(error) => last = Some(of_node(error)),
        }
    }
    Err(last.context("no node is named")?)
}

/// Has the first node that can reach the meta shard decide.
async fn decide(addresses: &[String], request: RemoveNodeRequest) -> anyhow::Result<ShardMap> {
    let mut last = None;
    for address in addresses {
        let asked = async {
            let mut client = member_at(address).await.map_err(of_node)?;
            let answer = client.remove_node(request).await.map_err(CallError::from)?;
            let map = answer.into_inner().map.context("the node sent no shard map")?;
            Ok::<_, anyhow::Error>(map_from_pb(map)?)
        };
        match asked.await {
            Ok(map) => return Ok(map),
            Err(error) if is_temporary(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.context("no node is named")?)
}

/// Whether asking again may help: the node does not answer, or the meta shard has no leader.
pub(super) fn is_temporary(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<CallError>().map(CallError::code);
    code.is_none_or(is_transient)
}
