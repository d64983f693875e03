//! How many streams of coupons are under way.
//!
//! One that is read slowly costs little: the parts that wait, and no view of any shard. So there can be many, and none
//! keeps the others from their turns at their shard. What is left to bound is memory, and the share of one client.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use coupon_cluster::ShardId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::shares::{Bounds, Share, Shares};
use crate::answer::error::Fault;
use crate::route::retry::Unanswered;

/// Each stream keeps two parts at most, usually of 100 KB, at most of 1 MiB.
const BOUNDS: Bounds = Bounds { all: 128, of_client: 32 };

/// Number of parts of one shard that are read at a time, so that streams do not take its time from other calls. Each
/// shard has its own, since one that does not answer keeps its readers waiting.
const SHARD_READS_MAX: usize = 4;

/// The streams under way. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Exports {
    shares: Shares,
    reads: Reads,
}

/// Who reads how many parts of each shard that was ever read. Clones share it.
#[derive(Debug, Clone, Default)]
struct Reads(Arc<Mutex<BTreeMap<ShardId, Arc<Semaphore>>>>);

impl Reads {
    fn of(&self, shard: ShardId) -> Arc<Semaphore> {
        let mut all = self.0.lock();
        Arc::clone(all.entry(shard).or_insert_with(|| Arc::new(Semaphore::new(SHARD_READS_MAX))))
    }
}

/// A stream under way. It counts until it is dropped.
#[derive(Debug)]
pub(super) struct ExportPermit {
    _share: Share,
    reads: Reads,
}

impl Exports {
    /// No stream yet.
    pub(super) fn new() -> Self {
        Self { shares: Shares::new(BOUNDS), reads: Reads::default() }
    }

    /// Begins a stream of a client.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when there are as many as there may be, of all clients or of this one.
    pub(super) fn begin(&self, client: Option<IpAddr>) -> Result<ExportPermit, Fault> {
        Ok(ExportPermit { _share: self.shares.begin(client)?, reads: self.reads.clone() })
    }
}

impl ExportPermit {
    /// Waits for a turn to read a part of a shard, which ends when it is dropped. Streams have it one after the other.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`.
    pub(super) async fn turn(
        &self,
        shard: ShardId,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        let turn = timeout_at(deadline, self.reads.of(shard).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(Fault::Unanswered(Unanswered::Overloaded))
    }
}
