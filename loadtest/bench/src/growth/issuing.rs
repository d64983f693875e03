//! Issuing up to a number of coupons, in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use crate::load::batch::{BATCH, Batch};
use crate::load::call::Call as _;

/// Number of batches in flight.
pub(super) const IN_FLIGHT: usize = 16;

/// Issues about `count` coupons: whole batches.
///
/// # Errors
/// When a call fails.
pub(super) async fn issue(callers: &[Batch], count: u64) -> anyhow::Result<u64> {
    let left = Arc::new(AtomicU64::new(count.div_ceil(BATCH as u64)));
    let mut workers = JoinSet::new();
    for caller in callers {
        let (mut caller, left) = (caller.clone(), Arc::clone(&left));
        workers.spawn(async move {
            let mut issued = 0;
            let take = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                issued += caller.call().await?;
            }
            Ok::<u64, String>(issued)
        });
    }
    let mut issued = 0;
    while let Some(worker) = workers.join_next().await {
        match worker.context("a worker ended early")? {
            Ok(more) => issued += more,
            Err(fault) => bail!("a call failed: {fault}"),
        }
    }
    Ok(issued)
}
