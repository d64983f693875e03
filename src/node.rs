//! `coupon node`: one member of a cluster, until it is asked to stop.

use std::os::unix::process::CommandExt as _;
use std::sync::Arc;

use anyhow::Context as _;
use coupon_env::SystemClock;
use coupon_node::{NodeConfig, NodeError};

use crate::settings::node::NodeArgs;
use crate::{logging, runtime};

/// Runs the command.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<()> {
    runtime::abort_on_panic();
    runtime::raise_descriptor_limit();
    runtime::disable_huge_pages();
    let config = args.load()?.config()?;
    match runtime::block_on(run_once(config)) {
        Err(again) if is_to_start_again(&again) => {
            tracing::warn!(why = %again, "the node starts again by itself");
            Err(start_again().into())
        }
        ended => ended,
    }
}

/// Runs the node until it is asked to stop, or finds that it must not run.
async fn run_once(config: NodeConfig) -> anyhow::Result<()> {
    let mut signals = runtime::StopSignals::catch()?;
    let id = config.node_id.get();
    let mut handle =
        coupon_node::start(config, Arc::new(SystemClock)).await.context("start the node")?;
    logging::announce(format!("node {id}"), handle.local_addr())?;
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

/// Puts a new run of the program, with the same arguments, in the place of this one, so that nothing of what
/// it had open is left. Returns only when that fails.
fn start_again() -> std::io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    std::process::Command::new(program).args(std::env::args_os().skip(1)).exec()
}
