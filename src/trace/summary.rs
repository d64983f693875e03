//! What is said about many entries.

use comfy_table::{CellAlignment, Table};

use super::entry::{Entries, Times};
use super::step::{Row, STEPS, Step};
use crate::output;

/// The middle of some durations, and what one in a hundred exceeds; in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Spread {
    median: u64,
    p99: u64,
}

impl Spread {
    fn new(durations: impl Iterator<Item = u64>) -> Option<Self> {
        let mut sorted: Vec<u64> = durations.collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(sorted.len().saturating_sub(1) * percent / 100);
        Some(Self { median: *at(50)?, p99: *at(99)? })
    }
}

/// How long the steps of the entries took.
pub(super) struct Summary {
    entries: usize,
    batches: Spread,
    commands: Spread,
    /// Half of the commands were in entries that took longer; large entries have most of them.
    median_of_commands: u64,
    /// Since the step before, for each of [`STEPS`].
    since_before: Vec<Spread>,
    /// Since the first request was read, for each of [`STEPS`].
    since_request: Vec<Spread>,
    /// The same of a typical entry. Unlike medians, its parts make the whole.
    pub(super) typical: Vec<u64>,
}

impl Summary {
    /// `None` without entries.
    pub(super) fn new(entries: &Entries) -> Option<Self> {
        let spreads = |since: &dyn Fn(&Row, &Times) -> u64| {
            let spread = |row: &Row| {
                let end = row.step.place();
                Spread::new(
                    entries.times.iter().map(|times| times[end].saturating_sub(since(row, times))),
                )
            };
            STEPS.iter().map(spread).collect::<Option<Vec<_>>>()
        };
        Some(Self {
            entries: entries.times.len(),
            batches: Spread::new(entries.batches.iter().copied())?,
            commands: Spread::new(entries.commands.iter().copied())?,
            median_of_commands: median_of_commands(entries),
            since_before: spreads(&|row, times| times[row.after.place()])?,
            since_request: spreads(&|_, times| times[Step::Read.place()])?,
            typical: typical(&entries.times),
        })
    }

    /// What the entries were like.
    pub(super) fn subtitle(&self) -> String {
        let Self { entries, batches, commands, median_of_commands, .. } = self;
        format!(
            "{entries} entries; median (and p99): {} ({}) commands in {} ({}) batches, timed by the oldest one; \
             half of the commands were in entries that took more than {} µs",
            commands.median,
            commands.p99,
            batches.median,
            batches.p99,
            micros(*median_of_commands)
        )
    }

    /// A row for each step.
    pub(super) fn table(&self) -> Table {
        let header =
            ["#", "MEMBER", "STEP", "AFTER", "TOOK, µs", "P99", "SINCE REQUEST, µs", "P99"];
        let mut table = output::table(&header);
        let spreads = self.since_before.iter().zip(&self.since_request);
        for ((number, row), (before, request)) in (1..).zip(&STEPS).zip(spreads) {
            let spreads = [before.median, before.p99, request.median, request.p99].map(micros);
            let after = if row.step == Step::Read {
                String::new()
            } else {
                (row.after.place() + 1).to_string()
            };
            let names = [number.to_string(), row.lane.name().into(), row.name.into(), after];
            table.add_row(names.into_iter().chain(spreads));
        }
        for column in [0, 3, 4, 5, 6, 7] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn median_of_commands(entries: &Entries) -> u64 {
    let mut sorted: Vec<_> = entries.times.iter().map(total).zip(&entries.commands).collect();
    sorted.sort_unstable();
    let mut left = entries.commands.iter().sum::<u64>() / 2;
    let median = sorted.into_iter().find(|(_, commands)| {
        let is_here = **commands >= left;
        left = left.saturating_sub(**commands);
        is_here
    });
    median.map_or(0, |(total, _)| total)
}

/// How long an entry took.
fn total(times: &Times) -> u64 {
    since_read(times, Step::Written.place())
}

fn since_read(times: &Times, step: usize) -> u64 {
    times[step].saturating_sub(times[Step::Read.place()])
}

/// The means of the tenth of the entries that took neither long nor short.
fn typical(times: &[Times]) -> Vec<u64> {
    let mut sorted = times.to_vec();
    sorted.sort_by_key(total);
    let count = (sorted.len() / 10).max(1);
    let middle = sorted.iter().skip((sorted.len() - count) / 2).take(count);
    let mean =
        |step| middle.clone().map(|times| since_read(times, step)).sum::<u64>() / count as u64;
    (0..STEPS.len()).map(mean).collect()
}

/// Nanoseconds as whole microseconds.
pub(super) fn micros(nanos: u64) -> String {
    (nanos / 1_000).to_string()
}
