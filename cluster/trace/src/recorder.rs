//! Where marks are kept: a buffer for each thread, so that members do not wait for each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use parking_lot::Mutex;

use crate::{Stage, Subject};

/// How many marks of one thread are kept; further ones are dropped. The router makes a few for each request: enough
/// for several seconds, in 60 MB.
const MARKS_MAX: usize = 1 << 20;

/// The zero of all times.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Whether marks are kept at the moment.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// The buffers of all threads, also of those that have ended.
static BUFFERS: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

type Buffer = Arc<Mutex<Vec<Mark>>>;

thread_local! {
    static BUFFER: Buffer = registered();
}

/// Something that passed.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// When: nanoseconds of one clock for all threads of this process.
    pub at_nanos: u64,
    /// Where.
    pub stage: Stage,
    /// What.
    pub subject: Subject,
}

/// Keeps the marks that are made from now on.
pub fn begin() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// Keeps no more marks, and returns those since [`begin`]: for each thread, in their order.
pub fn end() -> Vec<Vec<Mark>> {
    IS_ON.store(false, Ordering::Relaxed);
    BUFFERS.lock().iter().map(|buffer| std::mem::take(&mut *buffer.lock())).collect()
}

pub(crate) fn record(stage: Stage, subject: Subject) {
    if !IS_ON.load(Ordering::Relaxed) {
        return;
    }
    let mark = Mark { at_nanos: nanos(Instant::now()), stage, subject };
    BUFFER.with(|buffer| {
        let mut marks = buffer.lock();
        if marks.capacity() == 0 {
            // At once: a growing buffer would be copied in the middle of what is measured.
            marks.reserve_exact(MARKS_MAX);
        }
        if marks.len() < MARKS_MAX {
            marks.push(mark);
        }
    });
}

/// A time as nanoseconds since the zero.
pub(crate) fn nanos(time: Instant) -> u64 {
    u64::try_from(time.saturating_duration_since(*ORIGIN).as_nanos()).unwrap_or(u64::MAX)
}

fn registered() -> Buffer {
    let buffer = Buffer::default();
    BUFFERS.lock().push(Arc::clone(&buffer));
    buffer
}
