//! What came of a run: as text, as JSON and as a page.

mod cold;
pub(crate) mod figures;
mod fit;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod results;
pub(crate) mod table;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::cell::{Cell, Sample};
use crate::machine::conditions::Conditions;
use crate::report::figures::Figure;
use crate::report::fit::CostModel;
use crate::report::page::Page;
use crate::report::results::Results;

/// Share of the time above which the load generator, and not the system, may have been the bottleneck.
pub(crate) const CLIENT_BUSY_MAX: f64 = 0.85;

/// What came of a run, for programs: fields are only ever added.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Under what conditions it was made.
    pub(crate) conditions: Conditions,
    /// Why its figures may mislead.
    pub(crate) warnings: Vec<String>,
    /// The demanded figures.
    pub(crate) figures: Vec<Figure>,
    /// What a coupon and a log entry cost.
    pub(crate) cost_model: Option<CostModel>,
    /// All samples.
    pub(crate) cells: Vec<Measured>,
    /// Wrong answers and failed calls. With any, the figures mean nothing.
    pub(crate) faults: Vec<String>,
}

/// A cell with its samples, one per round.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) samples: Vec<Sample>,
}

impl Report {
    /// Derives the report from the samples.
    pub(crate) fn new(conditions: Conditions, results: &Results, faults: &[String]) -> Self {
        let mut warnings = conditions.warnings();
        warnings.extend(busy_clients(results));
        let measured =
            |(cell, samples): (Cell, &[Sample])| Measured { cell, samples: samples.to_vec() };
        Self {
            warnings,
            figures: figures::of(results),
            cost_model: results.cost_model(),
            cells: results.cells().map(measured).collect(),
            faults: faults.to_vec(),
            conditions,
        }
    }

    /// The report for people, all but the conditions.
    pub(crate) fn text(&self, results: &Results) -> String {
        let mut text = format!("\n{}\n", table::cells(results));
        let cold = cold::rows(results);
        if !cold.is_empty() {
            let mut table = table::plain();
            table.set_header(cold::HEADER);
            table.add_rows(cold);
            text.push_str(&format!("\n{table}\n"));
        }
        if !self.figures.is_empty() {
            text.push_str(&format!("\n{}\n", table::figures(&self.figures)));
        }
        if let Some(model) = &self.cost_model {
            text.push_str(&format!("\n{model}\n"));
        }
        text.push_str(&verdict(&self.warnings, &self.faults));
        text
    }

    /// Writes `bench.json` and `bench.html` to a directory, which is made if it is not there.
    pub(crate) fn write(&self, dir: &Path, results: &Results) -> anyhow::Result<()> {
        write(dir, "bench", self, &self.page(results)?)
    }

    fn page(&self, results: &Results) -> anyhow::Result<String> {
        let notes = self.faults.iter().chain(&self.warnings);
        let mut page = Page::new("Coupon: benchmark", &self.conditions, notes);
        page.figures(&self.figures);
        if let Some(model) = &self.cost_model {
            page.paragraph(&model.to_string());
        }
        page.heading("Measurements");
        let cells = results.cells().map(|(cell, _)| table::row(results, cell));
        page.table(&table::HEADER, cells);
        let cold = cold::rows(results);
        if !cold.is_empty() {
            page.table(&cold::HEADER, cold.into_iter());
        }
        for picture in plot::all(results)? {
            page.plot(&picture);
        }
        page.paragraph(
            "Medians over the rounds; in brackets and as bars the extremes. A ratio is taken in each round, \
             and the median is of the ratios.",
        );
        Ok(page.end())
    }
}

/// Why figures may mislead, and whether answers kept every promise, as text.
pub(crate) fn verdict(warnings: &[String], faults: &[String]) -> String {
    let mut text = String::new();
    for warning in warnings {
        text.push_str(&format!("\nWARNING: {warning}"));
    }
    if faults.is_empty() {
        text.push_str(
            "\nVERDICT: every coupon that was acknowledged was issued once, and no other",
        );
    }
    for fault in faults {
        text.push_str(&format!("\nVERDICT: BROKEN: {fault}"));
    }
    text
}

/// Writes `NAME.json` and `NAME.html` to a directory, which is made if it is not there.
pub(crate) fn write(
    dir: &Path,
    name: &str,
    report: &impl Serialize,
    page: &str,
) -> anyhow::Result<()> {
    let failed = || format!("write to {}", dir.display());
    fs::create_dir_all(dir).with_context(failed)?;
    let json = serde_json::to_string_pretty(report)?;
    fs::write(dir.join(format!("{name}.json")), json + "\n").with_context(failed)?;
    fs::write(dir.join(format!("{name}.html")), page).with_context(failed)
}

fn busy_clients(results: &Results) -> Vec<String> {
    let ours = results.cells().filter(|(cell, _)| cell.is_of_coupon());
    let busy = ours.filter_map(|(cell, _)| {
        let busy = results.spread(cell, |sample| sample.client_busy)?.median;
        (busy > CLIENT_BUSY_MAX).then(|| {
            format!("{cell}: the load generator used {:.0} % of its processor", busy * 100.0)
        })
    });
    busy.collect()
}
