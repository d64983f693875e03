//! A page of HTML that needs nothing else: tables and plots.

use crate::machine::conditions::Conditions;
use crate::report::figures::Figure;

/// How the page looks.
const STYLE: &str = "body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 76em; color: #222 } \
    table { border-collapse: collapse; margin: 1em 0 } \
    th, td { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top } \
    .met { color: #176b2c } .missed, .warning { color: #a11 } svg { max-width: 100%; height: auto }";

/// A page that grows from its head to its end.
#[derive(Debug)]
pub(crate) struct Page(String);

impl Page {
    /// A page with a title, the conditions, and what readers should know before they read on.
    pub(crate) fn new<'a>(
        title: &str,
        conditions: &Conditions,
        warnings: impl IntoIterator<Item = &'a String>,
    ) -> Self {
        let mut page = Self(format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
             <style>{STYLE}</style>\n<h1>{title}</h1>\n"
        ));
        let conditions = conditions.rows().into_iter();
        page.table(&[], conditions.map(|(name, value)| vec![name.to_owned(), value]));
        for warning in warnings {
            page.line(&format!("<p class=\"warning\">{}</p>", escaped(warning)));
        }
        page
    }

    /// The demanded figures, if there are any.
    pub(crate) fn figures(&mut self, figures: &[Figure]) {
        if figures.is_empty() {
            return;
        }
        self.heading("Figures");
        self.line("<table><tr><th></th><th>figure</th><th>value</th><th>demand</th><th></th></tr>");
        for figure in figures {
            let (class, mark) = if figure.is_met { ("met", "met") } else { ("missed", "missed") };
            let (what, value) = (escaped(&figure.what), figure.value);
            self.line(&format!(
                "<tr class=\"{class}\"><td>{}</td><td>{what}</td><td>{value}</td><td>{}</td>\
                 <td>{mark}</td></tr>",
                figure.name, figure.demand
            ));
        }
        self.line("</table>");
    }

    /// A heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.line(&format!("<h2>{}</h2>", escaped(text)));
    }

    /// A paragraph.
    pub(crate) fn paragraph(&mut self, text: &str) {
        self.line(&format!("<p>{}</p>", escaped(text)));
    }

    /// A table; an empty header is left out.
    pub(crate) fn table(&mut self, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let cells = |row: &[String], name: &str| {
            let cells = row.iter().map(|one| format!("<{name}>{}</{name}>", escaped(one)));
            format!("<tr>{}</tr>", cells.collect::<String>())
        };
        self.0.push_str("<table>");
        if !header.is_empty() {
            let header: Vec<String> = header.iter().map(|&one| one.to_owned()).collect();
            self.line(&cells(&header, "th"));
        }
        for row in rows {
            self.line(&cells(&row, "td"));
        }
        self.line("</table>");
    }

    /// A plot, as SVG.
    pub(crate) fn plot(&mut self, svg: &str) {
        self.line(svg);
    }

    /// The text of the page.
    pub(crate) fn end(mut self) -> String {
        self.line("</html>");
        self.0
    }

    fn line(&mut self, html: &str) {
        self.0.push_str(html);
        self.0.push('\n');
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
