//! `coupon cluster rotate-code-key`: new campaigns use another key for their codes.

use anyhow::Context as _;
use coupon_admin::member_at;
use coupon_cluster::{CodeKey, KeyId, MetaCommand, ShardMap};
use coupon_env::entropy;
use coupon_proto::internal::ProposeMetaRequest;
use coupon_wire::meta::command_to_pb;
use tokio::time::{Instant, sleep, timeout_at};

use super::remove::{LOOK_INTERVAL, first_map, is_temporary};
use crate::failure::{CallError, of_node};
use crate::output;
use crate::settings::Span;

/// The cluster to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct RotateCodeKeyArgs {
    /// Nodes of the cluster; the first that answers is asked
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7001")]
    node: Vec<String>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: Span,
}

/// Adds a key after the newest one.
pub(super) async fn run(args: &RotateCodeKeyArgs) -> anyhow::Result<()> {
    let deadline = Instant::now() + args.timeout.get();
    let done = timeout_at(deadline, rotate(&args.node)).await;
    done.with_context(|| {
        format!(
            "not known to be done within {}: look whether new campaigns have a new key",
            args.timeout
        )
    })?
}

async fn rotate(nodes: &[String]) -> anyhow::Result<()> {
    let map = first_map(nodes).await?;
    let next = KeyId(map.newest_code_key().map_or(0, KeyId::get).saturating_add(1));
    // The same key with every attempt, so that none adds a second one.
    let key = CodeKey { id: next, secret: entropy::secret() };
    let command = MetaCommand::AddCodeKey(key.clone());
    while !propose(&map, &command).await? {
        sleep(LOOK_INTERVAL).await;
    }
    output::line(format!("new campaigns of cluster {} use code key {}", map.cluster_id, key.id))
}

/// Asks every node, for one of them leads the meta shard. Whether it did it.
async fn propose(map: &ShardMap, command: &MetaCommand) -> anyhow::Result<bool> {
    for node in map.nodes.values() {
        let asked = async {
            let mut client = member_at(&node.address).await.map_err(of_node)?;
            let request = ProposeMetaRequest { command: Some(command_to_pb(command)) };
            client.propose_meta(request).await.map_err(CallError::from)?;
            Ok::<_, anyhow::Error>(())
        };
        match asked.await {
            Ok(()) => return Ok(true),
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
