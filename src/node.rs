//! `coupon node`: one member of a cluster, until it is asked to stop.

use std::sync::Arc;

use anyhow::Context as _;
use coupon_node::clock::SystemClock;
use coupon_node::{NodeConfig, NodeError};

use crate::settings::node::NodeArgs;
use crate::{output, runtime};

/// Runs the command.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<()> {
    runtime::abort_on_panic();
    let config = args.load()?.config()?;
    runtime::block_on(async {
        let mut signals = runtime::StopSignals::catch()?;
        loop {
            match run_once(config.clone(), &mut signals).await {
                Err(again) if is_to_start_again(&again) => {
                    tracing::warn!(why = %again, "the node starts again by itself");
                }
                ended => return ended,
            }
        }
    })
}

/// Runs the node until it is asked to stop, or finds that it must not run.
async fn run_once(config: NodeConfig, signals: &mut runtime::StopSignals) -> anyhow::Result<()> {
    let id = config.node_id.get();
    let mut handle =
        coupon_node::start(config, Arc::new(SystemClock)).await.context("start the node")?;
    output::line(format!("node {id} listens on {}", handle.local_addr()))?;
    tokio::select! {
        () = signals.next() => {}
        refused = handle.refused() => {
            handle.halt().await;
            return Err(refused.into());
        }
    }
    tracing::info!("stopping: transferring leadership first");
    let stop = async {
        handle.stop().await;
        Ok(())
    };
    signals.unless_impatient(stop).await
}

fn is_to_start_again(error: &anyhow::Error) -> bool {
    error.downcast_ref::<NodeError>().is_some_and(NodeError::starts_again)
}
