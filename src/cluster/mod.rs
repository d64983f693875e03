//! `coupon cluster`: forms a cluster, removes nodes from it, adds code keys.

mod init;
mod remove;
mod rotate_code_key;

use anyhow::{Context as _, bail};
use coupon_cluster::ShardMap;

pub(crate) use self::init::form;
use self::remove::RemoveArgs;
use self::rotate_code_key::RotateCodeKeyArgs;
use crate::failure::UsageError;
use crate::settings::Span;
use crate::{output, runtime};

/// Initializes a cluster, removes a node from it, or adds a code key.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ClusterCommand {
    Init(InitArgs),
    /// Removes a node from the cluster for ever. Other nodes get its replicas first; the node may be up
    /// or gone.
    ///
    /// Refused where a shard would lose its quorum meanwhile, or where every other node already has
    /// a replica of one of its shards: add a node first. Do not start the node again with the same
    /// data directory.
    #[command(after_help = "\
Examples:
  coupon cluster remove-node 4 --node 127.0.0.1:7001")]
    RemoveNode(RemoveArgs),
    /// Removes a node without replicas, such as one that was started once with a mistyped id.
    ///
    /// Refused if the node has replicas: use remove-node then.
    #[command(after_help = "\
Examples:
  coupon cluster forget 44 --node 127.0.0.1:7001")]
    Forget(RemoveArgs),
    /// Adds a code key, which new campaigns use; for instance because the current key has leaked.
    ///
    /// Campaigns that exist keep their key, and their codes stay valid. A cluster can have four keys. With each,
    /// codes of new campaigns take routers about twice as long to compute.
    #[command(after_help = "\
Examples:
  coupon cluster rotate-code-key --node 127.0.0.1:7001")]
    RotateCodeKey(RotateCodeKeyArgs),
}

/// Initializes a cluster of running nodes. Repeating it on an existing cluster changes nothing; asking for
/// another number of shards, or naming a node the cluster does not have, is an error then.
///
/// Waits until the nodes answer, initializes the cluster, and waits until every shard has a leader.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon cluster init --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
  coupon cluster init --nodes node1:7001 --shards 1 --replication 1")]
pub(crate) struct InitArgs {
    /// All nodes of the new cluster
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    nodes: Vec<String>,
    /// How many shards own campaigns; many more than nodes leave room to grow
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1023))]
    shards: u32,
    /// How many replicas a shard has: 1, 3 or 5 [default: 3, or 1 if there are fewer nodes]
    #[arg(long, value_name = "N")]
    replication: Option<u32>,
    /// How long all of it may take
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Span,
}

/// What a cluster is formed of.
#[derive(Clone, Debug)]
pub(crate) struct ClusterSpec {
    /// The addresses of its nodes.
    pub(crate) nodes: Vec<String>,
    /// How many shards own campaigns.
    pub(crate) shards: u32,
    /// How many replicas a shard has.
    pub(crate) replication: u32,
}

impl ClusterSpec {
    /// A formation with the usual replication, if none is asked for.
    ///
    /// # Errors
    /// [`UsageError`] when there cannot be a cluster like that.
    pub(crate) fn new(
        nodes: Vec<String>,
        shards: u32,
        replication: Option<u32>,
    ) -> Result<Self, UsageError> {
        let usual = if nodes.len() < 3 { 1 } else { 3 };
        let replication = replication.unwrap_or(usual);
        let enough = usize::try_from(replication).is_ok_and(|count| count <= nodes.len());
        if !matches!(replication, 1 | 3 | 5) || !enough {
            let count = nodes.len();
            let why = format!(
                "replication {replication} of {count} nodes: must be 1, 3 or 5, and at most the number of nodes"
            );
            return Err(UsageError(why));
        }
        Ok(Self { nodes, shards, replication })
    }

    /// Checks that a cluster which exists already is the one that is asked for. It may have grown.
    fn check_existing(&self, map: &ShardMap) -> anyhow::Result<()> {
        let shards = map.ring_shards.len();
        if u32::try_from(shards) != Ok(self.shards) {
            bail!(
                "cluster {} exists already, and has {shards} shards, not {}",
                map.cluster_id,
                self.shards
            );
        }
        let known = |address: &&String| map.nodes.values().any(|node| node.address == **address);
        if let Some(stranger) = self.nodes.iter().find(|address| !known(address)) {
            bail!("cluster {} exists already, and has no node at {stranger}", map.cluster_id);
        }
        Ok(())
    }
}

/// Runs the command.
pub(crate) fn run(command: ClusterCommand) -> anyhow::Result<()> {
    match command {
        ClusterCommand::Init(args) => init(args),
        ClusterCommand::RemoveNode(args) => runtime::block_on(remove::run(&args, false)),
        ClusterCommand::Forget(args) => runtime::block_on(remove::run(&args, true)),
        ClusterCommand::RotateCodeKey(args) => runtime::block_on(rotate_code_key::run(&args)),
    }
}

fn init(args: InitArgs) -> anyhow::Result<()> {
    let formation = ClusterSpec::new(args.nodes, args.shards, args.replication)?;
    let tell = |progress: &str| eprintln!("{progress}");
    runtime::block_on(async {
        let formed = tokio::time::timeout(args.timeout.get(), form(&formation, tell)).await;
        let formed = formed
            .with_context(|| format!("not done within {}", args.timeout))
            .context("initialize the cluster")??;
        let map = formed.survey.map;
        let word = if formed.existed { "exists already" } else { "is formed" };
        output::line(format!(
            "cluster {} {word}: {} nodes, {} shards, every shard has a leader",
            map.cluster_id,
            map.nodes.len(),
            map.ring_shards.len()
        ))
    })
}

#[cfg(test)]
mod tests {
    use coupon_cluster::{Node, NodeId, ShardId};

    use super::*;

    #[test]
    fn an_existing_cluster_must_be_the_one_asked_for() {
        let node = |id, address: &str| {
            let (address, store_id) = (address.to_owned(), format!("store-{id}"));
            (NodeId::new(id).unwrap(), Node { address, store_id, start_id: String::new() })
        };
        let nodes = [node(1, "a:1"), node(2, "b:1"), node(3, "c:1")].into();
        let ring_shards = [1, 2].map(|id| ShardId::new(id).unwrap()).into();
        let map = ShardMap { nodes, ring_shards, ..ShardMap::default() };
        let check = |nodes: &[&str], shards| {
            let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
            ClusterSpec::new(nodes, shards, Some(1)).unwrap().check_existing(&map)
        };
        assert!(check(&["a:1", "b:1", "c:1"], 2).is_ok());
        assert!(check(&["b:1"], 2).is_ok());
        let error = check(&["a:1", "b:1", "c:1"], 3).unwrap_err().to_string();
        assert!(error.contains("2 shards, not 3"), "{error}");
        let error = check(&["a:1", "d:1"], 2).unwrap_err().to_string();
        assert!(error.contains("no node at d:1"), "{error}");
    }

    #[test]
    fn replication_fits_the_nodes() {
        let replication = |nodes: usize, asked| {
            let nodes = vec!["a:1".to_owned(); nodes];
            ClusterSpec::new(nodes, 4, asked).map(|formation| formation.replication).ok()
        };
        assert_eq!(replication(1, None), Some(1));
        assert_eq!(replication(2, None), Some(1));
        assert_eq!(replication(3, None), Some(3));
        assert_eq!(replication(5, Some(5)), Some(5));
        assert_eq!(replication(3, Some(5)), None);
        assert_eq!(replication(3, Some(2)), None);
        assert_eq!(replication(3, Some(0)), None);
    }
}
