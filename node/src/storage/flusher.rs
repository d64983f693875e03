//! Group commit: one thread that makes the writes of all shards durable together.
//!
//! Whoever wrote something enqueues a [`Waiter`] and is told when a sync that *began after* the
//! waiter was enqueued has returned. The thread takes everything that waits, syncs once, and
//! completes just what it took: never a waiter whose write might have missed the sync.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rocksdb::DB;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::fatal;

/// How many writes may wait for a sync. Far more than all shards of a node have in flight (a few
/// entries each), so that a full queue means a disk that hangs; writers then wait.
const QUEUE_MAX: usize = 4_096;

/// Called on the flusher's thread once a write is durable.
pub type Waiter = Box<dyn FnOnce() + Send>;

/// What the thread is asked to do.
enum Job {
    Sync(Waiter),
    Stop,
}

/// A handle of the flusher. Clones share it; it ends with the last of them, or when it is stopped.
#[derive(Clone)]
pub struct Flusher {
    queue: mpsc::Sender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Flusher {
    /// Starts the thread.
    pub fn start(db: Arc<DB>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("flusher".into())
            .spawn(move || run(&db, waiting))
            .expect("the operating system has room for one thread");
        Self { queue, thread: Arc::new(Mutex::new(Some(thread))) }
    }

    /// Ends the thread, after a last sync if anything waits for one, and returns when it has ended
    /// and let go of the database. Blocks; nobody may wait for durability afterwards.
    pub fn stop(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A full queue empties with the next sync; a thread that has ended needs no telling.
            while let Err(TrySendError::Full(_)) = self.queue.try_send(Job::Stop) {
                std::thread::yield_now();
            }
            if thread.join().is_err() {
                fatal::abort("flusher", &"its thread panicked");
            }
        }
    }

    /// Has `waiter` called once everything written before this call is durable.
    pub async fn when_durable(&self, waiter: Waiter) {
        if self.queue.send(Job::Sync(waiter)).await.is_err() {
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
}

fn run(db: &DB, mut waiting: mpsc::Receiver<Job>) {
    let mut taken = Vec::with_capacity(QUEUE_MAX);
    while waiting.blocking_recv_many(&mut taken, QUEUE_MAX) > 0 {
        if let Err(fault) = db.flush_wal(true) {
            fatal::abort("sync of the write-ahead log", &fault);
        }
        let mut stops = false;
        for job in taken.drain(..) {
            match job {
                Job::Sync(waiter) => waiter(),
                Job::Stop => stops = true,
            }
        }
        if stops {
            return;
        }
    }
}
