//! The results as one page of HTML that needs nothing else: tables and plots.

use std::fmt::Write as _;

use crate::report::Report;
use crate::report::plot;
use crate::report::results::Results;
use crate::report::table;

/// How the page looks.
const STYLE: &str = "body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 76em; color: #222 } \
    table { border-collapse: collapse; margin: 1em 0 } \
    th, td { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top } \
    .met { color: #176b2c } .missed, .warning { color: #a11 } svg { max-width: 100%; height: auto }";

/// The page.
pub(crate) fn html(report: &Report, results: &Results) -> anyhow::Result<String> {
    let mut page = String::new();
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Coupon: benchmark</title>\
         <style>{STYLE}</style>\n<h1>Coupon: benchmark</h1>\n"
    )?;
    let conditions = report.conditions.rows().into_iter();
    rows(&mut page, &[], conditions.map(|(name, value)| vec![name.to_owned(), value]))?;
    for text in report.faults.iter().chain(&report.warnings) {
        writeln!(page, "<p class=\"warning\">{}</p>", escaped(text))?;
    }
    if !report.figures.is_empty() {
        page.push_str("<h2>Figures</h2>\n");
        figures(&mut page, report)?;
    }
    if let Some(model) = &report.cost_model {
        writeln!(page, "<p>{}</p>", escaped(&model.to_string()))?;
    }
    page.push_str("<h2>Measurements</h2>\n");
    let cells = results.cells().map(|(cell, _)| table::row(results, cell));
    rows(&mut page, &table::HEADER, cells)?;
    for picture in plot::all(results)? {
        writeln!(page, "{picture}")?;
    }
    page.push_str(
        "<p>Medians over the rounds; in brackets and as bars the extremes. A ratio is taken in each round, \
         and the median is of the ratios.</p>\n</html>\n",
    );
    Ok(page)
}

fn figures(page: &mut String, report: &Report) -> std::fmt::Result {
    page.push_str(
        "<table><tr><th></th><th>figure</th><th>value</th><th>demand</th><th></th></tr>\n",
    );
    for figure in &report.figures {
        let (class, mark) = if figure.is_met { ("met", "met") } else { ("missed", "missed") };
        let (what, value) = (escaped(&figure.what), figure.value);
        writeln!(
            page,
            "<tr class=\"{class}\"><td>{}</td><td>{what}</td><td>{value}</td><td>{}</td>\
             <td>{mark}</td></tr>",
            figure.name, figure.demand
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn rows(
    page: &mut String,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> std::fmt::Result {
    page.push_str("<table>");
    if !header.is_empty() {
        let cells: String = header.iter().map(|one| format!("<th>{}</th>", escaped(one))).collect();
        writeln!(page, "<tr>{cells}</tr>")?;
    }
    for row in rows {
        let cells: String = row.iter().map(|one| format!("<td>{}</td>", escaped(one))).collect();
        writeln!(page, "<tr>{cells}</tr>")?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
