//! `coupon demo --load --trace FILE`: where the time of a log entry goes, from the router's socket and back.
//!
//! All members of the demo run in this process and share a clock, so that their marks can be compared. They also
//! share its processors, and with those the time of an entry grows. A few seconds in the middle of the load are
//! recorded. It exists only in programs that are built with the feature `trace`.

mod entry;
mod picture;
mod step;
mod summary;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_trace::Mark;

use self::entry::Entries;
use self::summary::Summary;
use crate::output;

/// How long the load runs before anything is recorded: campaigns, connections and caches are there by then.
const WARM_UP: Duration = Duration::from_secs(3);

/// How long it is recorded. Much more than it takes to see [`ENTRIES_MAX`] entries.
const RECORDED: Duration = Duration::from_secs(2);

/// How many entries are looked at, those in the middle of the recording.
const ENTRIES_MAX: usize = 1_000;

/// Does some work, and records what happens meanwhile. Also returns the marks of each thread.
///
/// # Errors
/// When the work fails, or ends before something was recorded.
pub(crate) async fn recorded<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Vec<Vec<Mark>>)> {
    let recording = async {
        tokio::time::sleep(WARM_UP).await;
        coupon_trace::begin();
        tokio::time::sleep(RECORDED).await;
        coupon_trace::end()
    };
    let (done, marks) = tokio::join!(work, recording);
    Ok((done?, marks))
}

/// Prints where the time of the entries went, and draws it into a file.
///
/// # Errors
/// When no entry was seen from its beginning to its end, or the file cannot be written.
pub(crate) fn report(marks: &[Vec<Mark>], file: &Path, title: &str) -> anyhow::Result<()> {
    let mut entries = Entries::read(marks);
    entries.keep_middle(ENTRIES_MAX);
    let Some(summary) = Summary::new(&entries) else {
        bail!(
            "no entry was traced from start to end: run the load for more than {WARM_UP:?}, such as --for 8s"
        );
    };
    output::line(format!("\n{title}\n{}\n\n{}", summary.subtitle(), summary.table()))?;
    std::fs::write(file, picture::svg(&summary, title))
        .with_context(|| format!("write {}", file.display()))?;
    eprintln!("a picture of it is in {}", file.display());
    Ok(())
}
