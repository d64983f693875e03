//! How many streams of coupons are under way, and whose they are.
//!
//! One that is read slowly costs little: the parts that wait, and no view of any shard. So there can be many, and none
//! keeps the others from their turns at their shard. What is left to bound is memory, and the share of one client.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use coupon_cluster::ShardId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::answer::error::Fault;
use crate::route::retry::Unanswered;

/// Number of streams at a time. Each keeps two parts at most, usually of 100 KB, at most of 1 MiB.
const EXPORTS_MAX: usize = 128;

/// Number of streams at a time of one client address.
const CLIENT_EXPORTS_MAX: usize = 32;

/// Number of parts of one shard that are read at a time, so that streams do not take its time from other calls. Each
/// shard has its own, since one that does not answer keeps its readers waiting.
const SHARD_READS_MAX: usize = 4;

/// The streams under way.
#[derive(Debug)]
pub(super) struct Exports {
    of_clients: Mutex<HashMap<Option<IpAddr>, usize>>,
    /// One for each shard that was ever read.
    reads: Mutex<BTreeMap<ShardId, Arc<Semaphore>>>,
}

/// A stream under way. It counts until it is dropped.
#[derive(Debug)]
pub(super) struct ExportPermit {
    exports: Arc<Exports>,
    client: Option<IpAddr>,
}

impl Exports {
    /// No stream yet.
    pub(super) fn new() -> Self {
        Self { of_clients: Mutex::default(), reads: Mutex::default() }
    }

    fn reads_of(&self, shard: ShardId) -> Arc<Semaphore> {
        let mut reads = self.reads.lock();
        Arc::clone(reads.entry(shard).or_insert_with(|| Arc::new(Semaphore::new(SHARD_READS_MAX))))
    }

    /// Begins a stream of a client.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when there are as many as there may be, of all clients or of this one.
    pub(super) fn begin(self: &Arc<Self>, client: Option<IpAddr>) -> Result<ExportPermit, Fault> {
        let mut of_clients = self.of_clients.lock();
        let all: usize = of_clients.values().sum();
        let of_client = of_clients.get(&client).copied().unwrap_or(0);
        if all >= EXPORTS_MAX || of_client >= CLIENT_EXPORTS_MAX {
            return Err(Fault::Overloaded);
        }
        of_clients.insert(client, of_client + 1);
        Ok(ExportPermit { exports: Arc::clone(self), client })
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
        let turn = timeout_at(deadline, self.exports.reads_of(shard).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(Fault::Unanswered(Unanswered::Overloaded))
    }
}

impl Drop for ExportPermit {
    fn drop(&mut self) {
        let mut of_clients = self.exports.of_clients.lock();
        if let Some(of_client) = of_clients.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                of_clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(number: u8) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, number).into())
    }

    #[test]
    fn a_client_has_its_share_and_leaves_the_rest_to_others() {
        let exports = Arc::new(Exports::new());
        let mut permits = Vec::new();
        for number in 1..=4 {
            for _ in 0..CLIENT_EXPORTS_MAX {
                permits.push(exports.begin(client(number)).unwrap());
            }
            assert!(matches!(exports.begin(client(number)), Err(Fault::Overloaded)));
        }
        assert_eq!(permits.len(), EXPORTS_MAX);
        assert!(matches!(exports.begin(client(5)), Err(Fault::Overloaded)), "all are taken");
        drop(permits.pop());
        let other = exports.begin(client(5)).unwrap();
        assert!(exports.begin(client(4)).is_err(), "all are taken again");
        drop((permits, other));
        assert!(exports.of_clients.lock().is_empty());
    }
}
