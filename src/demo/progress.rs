//! The progress of the load: one line that changes on a terminal, a line a second elsewhere.

use std::io::{IsTerminal as _, stderr};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows progress on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    last: (Instant, u64),
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}");
            let style = style.expect("the template is a constant that was tried");
            ProgressBar::new_spinner().with_style(style)
        });
        Self { bar, last: (Instant::now(), 0) }
    }

    /// Shows how many coupons were issued so far, and how many a second since the last time.
    pub(super) fn show(&mut self, issued: u64, campaigns: usize) {
        let (at, before) = std::mem::replace(&mut self.last, (Instant::now(), issued));
        let seconds = at.elapsed().as_secs_f64();
        // The first look comes at once and has nothing to tell.
        if seconds < 0.1 {
            return;
        }
        let rate = rate(issued - before, seconds);
        let text = format!("{rate:>8} issued/s  {issued:>10} issued  campaign {campaigns}");
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => eprintln!("{text}"),
        }
    }

    /// Leaves the last line where it is.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// How many a second, rounded.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rounded figure for people; counts stay far below 2^52"
)]
pub(super) fn rate(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds.max(f64::EPSILON)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded() {
        assert_eq!(rate(1_000, 0.5), 2_000);
        assert_eq!(rate(2, 3.0), 1);
        assert_eq!(rate(0, 0.0), 0);
    }
}
