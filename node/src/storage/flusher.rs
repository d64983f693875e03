//! Group commit: one thread that makes the writes of all shards durable together.
//!
//! Whoever wrote something enqueues a [`Waiter`] and is told when a sync that *began after* the
//! waiter was enqueued has returned. The thread takes everything that waits, syncs once, and
//! completes just what it took: never a waiter whose write might have missed the sync.
//!
//! A disk may also hang, which is no error that anybody is told of. A second thread looks at how long a
//! sync takes: after a while this node is unfit to lead, and in the end it is a fault like any other.

use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::fatal;

/// How many writes may wait for a sync. Far more than all shards of a node have in flight (a few
/// entries each), so that a full queue means a disk that hangs; writers then wait.
const QUEUE_MAX: usize = 4_096;

/// After so long a sync counts as stuck. Busy disks take a second at times; a shard whose leader waits
/// for longer is served better by another replica.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// After so long a sync is taken to have failed. The disk comes back, if at all, to a process that knows
/// nothing any more of what it was about to say.
const SYNC_MAX: Duration = Duration::from_secs(10);
/// How often the second thread looks.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

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
    sync: Arc<SyncInProgress>,
}

/// When the sync that is going on began.
#[derive(Default)]
struct SyncInProgress(Mutex<Option<Instant>>);

impl SyncInProgress {
    fn has_taken(&self, time: Duration) -> bool {
        self.0.lock().is_some_and(|began| began.elapsed() >= time)
    }
}

impl Flusher {
    /// Starts the thread. `sync` makes durable what was written before it is called; a fault of it ends
    /// the process, as does one that does not return within ten seconds.
    pub fn start<E: Display>(sync: impl FnMut() -> Result<(), E> + Send + 'static) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let in_progress = Arc::new(SyncInProgress::default());
        let (noted, watched) = (in_progress.clone(), Arc::downgrade(&in_progress));
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(work);
            thread.expect("the operating system has room for one thread")
        };
        let thread = spawn("flusher", Box::new(move || run(sync, &noted, waiting)));
        // It touches nothing and ends by itself, so that nobody needs to wait for it.
        spawn("disk watchdog", Box::new(move || watch(&watched)));
        Self { queue, thread: Arc::new(Mutex::new(Some(thread))), sync: in_progress }
    }

    /// Whether the disk hangs, by the look of it: a sync has taken more than two seconds.
    pub fn is_stuck(&self) -> bool {
        self.sync.has_taken(STUCK_AFTER)
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

/// Looks at the syncs until there will be no more.
fn watch(watched: &Weak<SyncInProgress>) {
    let mut was_stuck = false;
    while let Some(sync) = watched.upgrade() {
        if sync.has_taken(SYNC_MAX) {
            let fault = format!("the disk has not answered for {SYNC_MAX:?}");
            fatal::abort("sync of the write-ahead log", &fault);
        }
        let is_stuck = sync.has_taken(STUCK_AFTER);
        match (was_stuck, is_stuck) {
            (false, true) => tracing::warn!(
                "the disk has not answered for {STUCK_AFTER:?}: this node leads no shard until it does"
            ),
            (true, false) => tracing::info!("the disk answers again"),
            (true, true) | (false, false) => {}
        }
        was_stuck = is_stuck;
        drop(sync);
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn run<E: Display>(
    mut sync: impl FnMut() -> Result<(), E>,
    in_progress: &SyncInProgress,
    mut waiting: mpsc::Receiver<Job>,
) {
    let mut taken = Vec::with_capacity(QUEUE_MAX);
    while waiting.blocking_recv_many(&mut taken, QUEUE_MAX) > 0 {
        *in_progress.0.lock() = Some(Instant::now());
        if let Err(fault) = sync() {
            fatal::abort("sync of the write-ahead log", &fault);
        }
        *in_progress.0.lock() = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_sync_that_hangs_is_noticed_and_one_that_returns_is_forgotten() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let flusher = Flusher::start(move || released.recv().map_err(|_| "released too often"));
        assert!(!flusher.is_stuck(), "nothing to sync");
        let durable = tokio::spawn({
            let flusher = flusher.clone();
            async move { flusher.durable().await }
        });
        let began = Instant::now();
        while !flusher.is_stuck() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(began.elapsed() >= STUCK_AFTER);
        release.send(()).unwrap();
        durable.await.unwrap();
        assert!(!flusher.is_stuck());
    }
}
