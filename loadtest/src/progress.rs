//! The progress of the load on standard error: one line that changes on a terminal, a line a second
//! elsewhere.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::recorder::Figures;

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// On standard error.
    Progress,
    /// Not at all.
    Nothing,
}

/// Shows progress.
pub(crate) struct Progress {
    show: Show,
    /// When there is something to wait for.
    starts: u64,
    bar: Option<ProgressBar>,
    /// When it was last shown, and what had ended by then.
    last: (u64, u64),
}

impl Progress {
    /// Nothing is shown yet. Until `starts` nanoseconds there is nothing but to wait.
    pub(crate) fn new(show: Show, starts: u64) -> Self {
        let is_terminal = show == Show::Progress && stderr().is_terminal();
        let bar = is_terminal.then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}");
            let style = style.expect("the template is a constant that was tried");
            ProgressBar::new_spinner().with_style(style)
        });
        Self { show, starts, bar, last: (0, 0) }
    }

    /// Shows what was reached so far, and how much a second since the last time.
    pub(crate) fn show(&mut self, figures: &Figures, now: u64, in_flight: usize, campaigns: usize) {
        let (at, before) = std::mem::replace(&mut self.last, (now, figures.issued));
        // The first look comes at once and has nothing to tell.
        if self.show == Show::Nothing || at == 0 {
            return;
        }
        let rate = rate(figures.issued - before, now - at);
        let refused = figures.served - figures.issued;
        let errors = figures.errors;
        let mut text = format!(
            "{rate:>8} issued/s  {:>10} issued  {refused:>8} refused  {in_flight:>6} under way",
            figures.issued
        );
        if campaigns > 1 {
            text.push_str(&format!("  {campaigns} campaigns"));
        }
        if errors > 0 {
            text.push_str(&format!("  {errors} ERRORS"));
        }
        if now < self.starts {
            let seconds = (self.starts - now).div_ceil(1_000_000_000);
            text = format!("starts in {seconds} s  {in_flight:>6} under way");
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => eprintln!("{text}"),
        }
    }

    /// Leaves the last line where it is, and goes on below it.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
            eprintln!();
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
pub(crate) fn rate(count: u64, nanos: u64) -> u64 {
    (count as f64 * 1e9 / (nanos.max(1) as f64)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded() {
        assert_eq!(rate(1_000, 500_000_000), 2_000);
        assert_eq!(rate(2, 3_000_000_000), 1);
        assert_eq!(rate(0, 0), 0);
    }
}
