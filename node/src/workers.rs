//! The threads that a node's work is spread over.
//!
//! Each worker is one thread with a runtime of its own. All of a shard's work is done by one of them, so that shards
//! share nothing while they issue coupons. The first worker is the runtime that the node was started on; with one
//! worker there are no others.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use coupon_cluster::ShardId;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Maximum time that blocking work of a worker may go on when all else has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The workers of a node. Clones share them.
#[derive(Clone)]
pub struct Workers {
    runtimes: Arc<[Handle]>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    stopped: CancellationToken,
}

impl Workers {
    /// Starts all but the first, which is the current runtime.
    ///
    /// # Errors
    ///
    /// When the system has no room for a thread or a runtime.
    pub fn start(number: NonZeroUsize) -> std::io::Result<Self> {
        let (mut runtimes, mut threads) = (vec![Handle::current()], Vec::new());
        let stopped = CancellationToken::new();
        for worker in 1..number.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtimes.push(runtime.handle().clone());
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new().name(format!("worker {worker}"));
            threads.push(thread.spawn(move || {
                runtime.block_on(stopped.cancelled());
                runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
            })?);
        }
        Ok(Self { runtimes: runtimes.into(), threads: Arc::new(Mutex::new(threads)), stopped })
    }

    /// Their number.
    pub fn number(&self) -> usize {
        self.runtimes.len()
    }

    /// The number of the worker of a shard.
    pub fn worker_of(&self, shard: ShardId) -> usize {
        shard.get() as usize % self.runtimes.len()
    }

    /// The runtime of a worker; numbers beyond the last begin again with the first.
    pub fn runtime(&self, worker: usize) -> &Handle {
        &self.runtimes[worker % self.runtimes.len()]
    }

    /// Ends all but the first, and what still runs there. Blocks.
    pub fn stop(&self) {
        self.stopped.cancel();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}
