//! How many streams of coupons are under way.
//!
//! One that is read slowly costs little: the parts that wait, and no view of any shard. So there can be many, and none
//! keeps the others from their turns at the shards. What is left to bound is memory, and the share of one client.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::shares::{Bounds, Share, Shares};
use crate::answer::error::Fault;
use crate::route::retry::Unanswered;

/// Each stream keeps two parts at most, usually of 100 KB, at most of 1 MiB.
const BOUNDS: Bounds = Bounds { all: 128, of_client: 32 };

/// Number of parts that are read at a time, so that streams do not take the time of shards from other calls.
const READS_MAX: usize = 4;

/// The streams under way. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Exports {
    shares: Shares,
    reads: Arc<Semaphore>,
}

/// A stream under way. It counts until it is dropped.
#[derive(Debug)]
pub(super) struct ExportPermit {
    _share: Share,
    reads: Arc<Semaphore>,
}

impl Exports {
    /// No stream yet.
    pub(super) fn new() -> Self {
        Self { shares: Shares::new(BOUNDS), reads: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Begins a stream of a client.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when there are as many as there may be, of all clients or of this one.
    pub(super) fn begin(&self, client: Option<IpAddr>) -> Result<ExportPermit, Fault> {
        Ok(ExportPermit { _share: self.shares.begin(client)?, reads: Arc::clone(&self.reads) })
    }
}

impl ExportPermit {
    /// Waits for a turn to read a part, which ends when it is dropped. Streams have it one after the other.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Fault> {
        let turn = timeout_at(deadline, self.reads.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or(Fault::Unanswered(Unanswered::Overloaded))
    }
}
