//! An open loop: calls are sent at their times, whatever is answered, and latency counts from the intended
//! time. A system that stands still for a moment shows it in every call of that moment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use coupon_loadtest::Pacer;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::load::call::Call;
use crate::load::closed_loop::LAST_ANSWERS_TIMEOUT;
use crate::load::tally::{Tally, Window};

/// Maximum number of calls in flight, which bounds memory. Calls beyond it are sent later, and their
/// latency still counts from the intended time.
const IN_FLIGHT_MAX: usize = 8_192;

/// Minimum time between two wake-ups to send. A timer for each call would take more CPU time than the call,
/// on the processors that the system needs. The delay is part of the measured latency.
const TICK: Duration = Duration::from_micros(200);

/// Sends `per_second` calls a second, at even distances, to the end of the window, and waits until each is
/// answered. The callers take turns.
///
/// # Errors
/// When a call is not answered in time.
pub(crate) async fn open_loop<C: Call + Clone>(
    callers: &[C],
    window: Window,
    per_second: f64,
) -> anyhow::Result<Tally> {
    let tally = Arc::new(Mutex::new(Tally::new(window)?));
    let deadline = window.end + LAST_ANSWERS_TIMEOUT;
    let sent = send_all(callers, window.end, per_second, &tally);
    timeout_at(deadline, sent).await.context("calls were not answered in time")??;
    let tally = Arc::into_inner(tally).context("all calls have ended")?;
    Ok(tally.into_inner())
}

async fn send_all<C: Call + Clone>(
    callers: &[C],
    end: Instant,
    per_second: f64,
    tally: &Arc<Mutex<Tally>>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut pacer = Pacer::kernel().context("set a timer")?;
    let mut calls = JoinSet::new();
    let mut turns = callers.iter().cycle();
    let mut sent = 0;
    let mut due = began;
    while due < end {
        while due < end && due <= Instant::now() && calls.len() < IN_FLIGHT_MAX {
            let caller = turns.next().context("there are callers")?.clone();
            calls.spawn(send(caller, due, Arc::clone(tally)));
            sent += 1;
            due = began + Duration::from_secs_f64(f64::from(sent) / per_second);
        }
        let wake = due.max(Instant::now() + TICK);
        while Instant::now() < wake {
            tokio::select! {
                biased;
                woken = pacer.until(Some(wake)) => woken.context("wait for a timer")?,
                Some(ended) = calls.join_next() => ended.context("a call ended early")?,
            }
        }
    }
    while let Some(ended) = calls.join_next().await {
        ended.context("a call ended early")?;
    }
    Ok(())
}

async fn send<C: Call>(mut caller: C, due: Instant, tally: Arc<Mutex<Tally>>) {
    let answer = caller.call().await;
    let answered = Instant::now();
    match answer {
        Ok(units) => tally.lock().note_due(due, answered, units),
        Err(fault) => tally.lock().note_fault(fault),
    }
}
