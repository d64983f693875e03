//! Group commit: one thread that makes the writes of all shards durable together.
//!
//! Whoever wrote something enqueues a [`Waiter`] and is told when a sync that *began after* the
//! waiter was enqueued has returned. The thread takes everything that waits, syncs once, and
//! completes just what it took: never a waiter whose write might have missed the sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::DB;
use tokio::sync::{mpsc, oneshot};

use super::fatal;

/// How many writes may wait for a sync. Far more than all shards of a node have in flight (a few
/// entries each), so that a full queue means a disk that hangs; writers then wait.
const QUEUE_MAX: usize = 4_096;

/// Called on the flusher's thread once a write is durable.
pub type Waiter = Box<dyn FnOnce() + Send>;

/// A handle of the flusher. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub struct Flusher {
    queue: mpsc::Sender<Waiter>,
    syncs: Arc<AtomicU64>,
}

impl Flusher {
    /// Starts the thread.
    pub fn start(db: Arc<DB>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let syncs = Arc::new(AtomicU64::new(0));
        let counter = syncs.clone();
        std::thread::Builder::new()
            .name("flusher".into())
            .spawn(move || run(&db, waiting, &counter))
            .expect("the operating system has room for one thread");
        Self { queue, syncs }
    }

    /// Has `waiter` called once everything written before this call is durable.
    pub async fn when_durable(&self, waiter: Waiter) {
        if self.queue.send(waiter).await.is_err() {
            fatal::abort("flusher", &"its thread is gone");
        }
    }

    /// Waits until everything written before this call is durable.
    pub async fn durable(&self) {
        let (done, wait) = oneshot::channel();
        self.when_durable(Box::new(move || {
            // A caller that went away no longer needs to know.
            let _ = done.send(());
        }))
        .await;
        if wait.await.is_err() {
            fatal::abort("flusher", &"it dropped a waiter");
        }
    }

    /// How many syncs there were.
    pub fn sync_count(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

fn run(db: &DB, mut waiting: mpsc::Receiver<Waiter>, syncs: &AtomicU64) {
    let mut taken = Vec::with_capacity(QUEUE_MAX);
    while waiting.blocking_recv_many(&mut taken, QUEUE_MAX) > 0 {
        if let Err(fault) = db.flush_wal(true) {
            fatal::abort("sync of the write-ahead log", &fault);
        }
        syncs.fetch_add(1, Ordering::Relaxed);
        for waiter in taken.drain(..) {
            waiter();
        }
    }
}
