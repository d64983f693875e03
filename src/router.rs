//! `coupon router`: the front door, until it is asked to close.

use anyhow::Context as _;

use crate::settings::router::RouterArgs;
use crate::{logging, runtime};

/// Runs the command.
pub(crate) fn run(args: &RouterArgs) -> anyhow::Result<()> {
    runtime::abort_on_panic();
    runtime::raise_descriptor_limit();
    // Its bound on connections follows from the limit that was raised.
    let config = args.load()?.config()?;
    runtime::block_on(async {
        let mut signals = runtime::StopSignals::catch()?;
        let handle = coupon_router::start(config).await.context("start the router")?;
        logging::announce("router", handle.local_addr())?;
        tokio::select! {
            () = signals.next() => {}
            refused = handle.refused() => {
                if let Err(error) = handle.halt().await {
                    tracing::info!(%error, "requests under way were cut off");
                }
                return Err(refused.into());
            }
        }
        tracing::info!("stopping: requests under way are finished first");
        let stop = async { handle.shutdown().await.context("stop the router") };
        signals.unless_impatient(stop).await
    })
}
