//! The wish to stop, by Ctrl-C or SIGTERM.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

/// Whether the run is to end. Copies agree with each other.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Stop {
    /// Follows the signals of the process from now on. The first one ends the run early; by the second
    /// one the process ends at once, and nothing is healed.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub fn by_signals() -> std::io::Result<Self> {
        let stop = Self::default();
        let told = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if told.is_set() {
                        eprintln!("ended at once; chaos/heal mends what chaos/run has broken");
                        std::process::exit(1);
                    }
                    eprintln!("stopping, then judging; press Ctrl-C again to end at once");
                    told.set();
                }
            });
        })?;
        Ok(stop)
    }

    /// Ends the run.
    pub fn set(&self) {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.state.1.notify_all();
    }

    /// Whether the run is to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `duration`, or until the run is to end. Returns whether it is.
    pub fn sleep(&self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        let mut is_set = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_set {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.state.1.wait_timeout(is_set, left);
            is_set = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_ends_when_it_is_set() {
        let stop = Stop::default();
        assert!(!stop.sleep(Duration::from_millis(1)));
        let other = stop.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(600)));
        stop.set();
        assert!(sleeper.join().unwrap());
        assert!(stop.is_set());
    }
}
