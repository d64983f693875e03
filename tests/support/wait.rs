//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// The pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// How long anything may take that takes a second or two on an idle machine: elections, restarts,
/// catching up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is something to return.
///
/// # Panics
/// When there is nothing for too long; `what` says what was waited for.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
