//! How long a sync takes where none is needed: before the first election, and on a slow disk that is idle.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes written before each sync: about what a vote or a small entry writes.
const WRITTEN: [u8; 4 << 10] = [0; 4 << 10];
/// Number of syncs on a slow disk. One alone may have come at a bad moment.
const SYNCS: usize = 3;
/// A disk that is faster needs no second look.
const FAST: Duration = Duration::from_millis(20);

/// Measures how long syncs take, with a file in `dir` that has no name.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn measure(dir: &Path) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut times = Vec::with_capacity(SYNCS);
    while times.len() < SYNCS && times.last().is_none_or(|last| *last >= FAST) {
        file.write_all(&WRITTEN)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(times)
}
