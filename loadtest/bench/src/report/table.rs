//! The results as text.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::cell::{Cell, Sample};
use crate::machine::conditions::Conditions;
use crate::report::figures::Figure;
use crate::report::results::{Results, Spread};

/// Columns of the table of cells.
pub(crate) const HEADER: [&str; 9] = [
    "cell",
    "per second",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "CPU µs",
    "by role",
    "switches",
    "per log entry",
];

/// The conditions.
pub(crate) fn conditions(conditions: &Conditions) -> Table {
    let mut table = plain();
    for (name, value) in conditions.rows() {
        table.add_row([name.to_owned(), value]);
    }
    table
}

/// All cells: medians over the rounds, with the extremes of the throughput.
pub(crate) fn cells(results: &Results) -> Table {
    let mut table = plain();
    table.set_header(HEADER);
    for (cell, _) in results.cells() {
        table.add_row(row(results, cell));
    }
    table
}

/// The demanded figures.
pub(crate) fn figures(figures: &[Figure]) -> Table {
    let mut table = plain();
    table.set_header(["demand", "figure", "value", "wanted", ""]);
    for figure in figures {
        let wanted = figure.demand.to_string();
        let mark = if figure.is_met { "met" } else { "MISSED" };
        let (name, what) = (figure.name.to_owned(), figure.what.clone());
        table.add_row([name, what, figure.value.to_string(), wanted, mark.to_owned()]);
    }
    table
}

/// The cells of one row of the table.
pub(crate) fn row(results: &Results, cell: Cell) -> Vec<String> {
    let spread = |value: fn(&Sample) -> f64| results.spread(cell, value);
    let median = |value: fn(&Sample) -> f64, digits: usize| {
        spread(value).map_or_else(String::new, |spread| format!("{:.digits$}", spread.median))
    };
    vec![
        cell.to_string(),
        spread(|sample| sample.per_second).map_or_else(String::new, rates),
        median(|sample| sample.p50_ms, 2),
        median(|sample| sample.p99_ms, 2),
        median(|sample| sample.p99_9_ms, 2),
        median(Sample::cpu_us_total, 1),
        roles(results.samples(cell)),
        median(Sample::switches_total, 2),
        entries(results.samples(cell)),
    ]
}

/// Median and extremes of a number per second.
pub(crate) fn rates(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    if min < max { format!("{median:.0} ({min:.0}–{max:.0})") } else { format!("{median:.0}") }
}

fn roles(samples: &[Sample]) -> String {
    let roles = samples.first().into_iter().flat_map(|sample| sample.cpu_us.keys());
    let medians = roles.filter_map(|role| {
        let of_role = samples.iter().filter_map(|sample| sample.cpu_us.get(role).copied());
        Some(format!("{role} {:.1}", Spread::of(of_role.collect())?.median))
    });
    medians.collect::<Vec<_>>().join(", ")
}

fn entries(samples: &[Sample]) -> String {
    let found = Spread::of(samples.iter().filter_map(Sample::commands_per_entry).collect());
    let total: Option<u64> = samples.iter().map(|sample| sample.log_entries).sum();
    match (found, total) {
        (Some(spread), _) => format!("{:.0}", spread.median),
        (None, Some(0)) if !samples.is_empty() => "no entry".to_owned(),
        (None, _) => String::new(),
    }
}

/// A table without lines.
pub(crate) fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table
}
