//! A closed loop: each worker sends its next call when the last one is answered. It finds the peak.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::load::call::Call;
use crate::load::tally::{Tally, Window};

/// Maximum time for the last answers after sending has ended: the deadline that a router sets by itself,
/// and some.
pub(crate) const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the callers to the end of the window, and waits until each has its last answer.
///
/// # Errors
/// When a call is not answered in time.
pub(crate) async fn closed_loop<C: Call>(callers: Vec<C>, window: Window) -> anyhow::Result<Tally> {
    let tally = Arc::new(Mutex::new(Tally::new(window)?));
    let mut workers = JoinSet::new();
    for caller in callers {
        workers.spawn(work(caller, window.end, Arc::clone(&tally)));
    }
    let ended = async {
        while let Some(worker) = workers.join_next().await {
            worker.context("a worker ended early")?;
        }
        anyhow::Ok(())
    };
    let late = "calls were not answered in time";
    timeout_at(window.end + LAST_ANSWERS_TIMEOUT, ended).await.context(late)??;
    let tally = Arc::into_inner(tally).context("all workers have ended")?;
    Ok(tally.into_inner())
}

/// Calls until the time is over. A worker whose call failed ends, since the run is spoiled.
async fn work<C: Call>(mut caller: C, end: Instant, tally: Arc<Mutex<Tally>>) {
    let mut sent = Instant::now();
    while sent < end {
        let answer = caller.call().await;
        let answered = Instant::now();
        match answer {
            Ok(units) => tally.lock().note(sent, answered, units),
            Err(fault) => {
                tally.lock().note_fault(fault);
                return;
            }
        }
        sent = answered;
    }
}
