//! `coupon node`: one member of a cluster, until it is asked to stop.

use std::sync::Arc;

use anyhow::Context as _;
use coupon_node::clock::SystemClock;

use crate::settings::node::NodeArgs;
use crate::{output, runtime};

/// Runs the command.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<()> {
    runtime::abort_on_panic();
    let config = args.load()?.config()?;
    runtime::block_on(async {
        let mut signals = runtime::StopSignals::catch()?;
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
        tracing::info!("stopping: leadership is handed over first");
        let stop = async {
            handle.stop().await;
            Ok(())
        };
        signals.unless_impatient(stop).await
    })
}
