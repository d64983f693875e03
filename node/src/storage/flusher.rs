//! Group commit: one thread that makes the writes of all shards durable together.
//!
//! A writer enqueues a [`Waiter`] and is told when a sync that *began after* the
//! waiter was enqueued has returned. The thread takes everything that waits, syncs once, and
//! completes just what it took: never a waiter whose write might have missed the sync.
//!
//! A disk may also hang, which is no error that anybody is told of. A second thread looks at how long a
//! sync takes: after a while this node is unfit to lead, and in the end it is a fault like any other.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coupon_trace::{Stage, Subject, mark};
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::fatal;
use crate::latency::Recent;

/// How many writes may wait for a sync. Far more than all shards of a node have in flight (a few
/// entries each), so that a full queue means a disk that hangs; writers then wait.
const QUEUE_MAX: usize = 4_096;

/// How often the second thread looks. It counts its looks instead of reading a clock, which would go on
/// while the whole process is stopped.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Number of looks, two seconds, after which a sync counts as stuck. Busy disks take a second at times; a
/// shard whose leader waits for longer is served better by another replica.
const STUCK_LOOKS: u32 = 8;
/// The same on a disk that is always slow: a sync counts as stuck when it takes so many times as long as usual.
const STUCK_FACTOR: u32 = 4;
/// Number of looks, ten seconds, after which a sync counts as failed. The disk comes back, if at
/// all, to a process that knows nothing any more of what it was about to say.
const FAILED_LOOKS: u32 = 40;

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
    syncs: Arc<Syncs>,
}

/// The syncs so far, for the second thread and for others.
#[derive(Default)]
struct Syncs {
    /// How many times a sync has begun or returned: odd while one is going on.
    turns: AtomicU64,
    /// Whether the one that is going on is stuck.
    stuck: AtomicBool,
    /// How long the latest took.
    recent: Mutex<Recent>,
}

impl Flusher {
    /// Starts the thread. `sync` makes durable what was written before it is called; a fault of it ends
    /// the process, as does one that does not return within ten seconds.
    pub fn start<E: Display>(sync: impl FnMut() -> Result<(), E> + Send + 'static) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let syncs = Arc::new(Syncs::default());
        let (noted, watched) = (syncs.clone(), Arc::downgrade(&syncs));
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(work);
            thread.expect("the operating system has room for one thread")
        };
        let thread = spawn("flusher", Box::new(move || run(sync, &noted, waiting)));
        // It touches nothing and ends by itself, so that nobody needs to wait for it.
        spawn("disk watchdog", Box::new(move || watch(&watched)));
        Self { queue, thread: Arc::new(Mutex::new(Some(thread))), syncs }
    }

    /// Whether the disk hangs, by the look of it: a sync has taken more than two seconds, and much longer than usual.
    pub fn is_stuck(&self) -> bool {
        self.syncs.stuck.load(Ordering::Relaxed)
    }

    /// How long a sync takes, typically; zero while none has been made.
    pub fn typical_sync(&self) -> Duration {
        self.syncs.recent.lock().typical()
    }

    /// The number of syncs that were made here, and half of one that is being made.
    pub fn syncs_made(&self) -> u64 {
        self.syncs.turns.load(Ordering::Relaxed) / 2
    }

    /// Notes how long a sync of the same disk took that was not made here.
    pub(super) fn note_sync(&self, time: Duration) {
        self.syncs.recent.lock().add(time);
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

    /// Waits until everything written before this call is durable, on a thread that is not the runtime's.
    pub fn wait_durable(&self) {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        let waiter = Box::new(move || {
            // The other end waits for nothing else.
            let _ = done.send(());
        });
        if self.queue.blocking_send(Job::Sync(waiter)).is_err() || wait.recv().is_err() {
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
fn watch(watched: &Weak<Syncs>) {
    let (mut seen, mut looks) = (0, 0);
    while let Some(syncs) = watched.upgrade() {
        let turns = syncs.turns.load(Ordering::Relaxed);
        let goes_on = turns % 2 == 1 && turns == seen;
        looks = if goes_on { looks + 1 } else { 0 };
        seen = turns;
        if looks >= FAILED_LOOKS {
            let fault = format!("the disk has not answered for {:?}", WATCH_INTERVAL * looks);
            fatal::abort("sync of the write-ahead log", &fault);
        }
        let usual = syncs.recent.lock().typical() * STUCK_FACTOR;
        let is_stuck = looks >= STUCK_LOOKS && WATCH_INTERVAL * looks >= usual;
        match (syncs.stuck.swap(is_stuck, Ordering::Relaxed), is_stuck) {
            (false, true) => {
                tracing::warn!("the disk does not answer: this node leads no shard until it does");
            }
            (true, false) => tracing::info!("the disk answers again"),
            (true, true) | (false, false) => {}
        }
        drop(syncs);
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn run<E: Display>(
    mut sync: impl FnMut() -> Result<(), E>,
    syncs: &Syncs,
    mut waiting: mpsc::Receiver<Job>,
) {
    let mut taken = Vec::with_capacity(QUEUE_MAX);
    while waiting.blocking_recv_many(&mut taken, QUEUE_MAX) > 0 {
        syncs.turns.fetch_add(1, Ordering::Relaxed);
        mark(Stage::SyncBegan, Subject::Disk);
        let began = Instant::now();
        if let Err(fault) = sync() {
            fatal::abort("sync of the write-ahead log", &fault);
        }
        syncs.recent.lock().add(began.elapsed());
        syncs.turns.fetch_add(1, Ordering::Relaxed);
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

    /// Waits for a condition, a minute at most.
    async fn until(is_so: impl Fn() -> bool) {
        let looks = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), looks).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_sync_that_hangs_is_noticed_and_one_that_returns_is_forgotten() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let flusher = Flusher::start(move || released.recv().map_err(|_| "released too often"));
        assert!(!flusher.is_stuck(), "nothing to sync");
        let durable = tokio::spawn({
            let flusher = flusher.clone();
            async move { flusher.durable().await }
        });
        until(|| flusher.is_stuck()).await;
        assert!(!durable.is_finished());
        release.send(()).unwrap();
        durable.await.unwrap();
        until(|| !flusher.is_stuck()).await;
    }
}
