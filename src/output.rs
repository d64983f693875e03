//! What programs may read goes to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stdout};

use clap::ArgMatches;
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs; fields are only ever added.
    Json,
}

/// The reader of the output is gone, as after `… | head`.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output is gone")]
pub(crate) struct ReaderGone;

/// Prints a line, at once.
///
/// # Errors
/// [`ReaderGone`], or what else is wrong with the output.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes, at once.
///
/// # Errors
/// [`ReaderGone`], or what else is wrong with the output.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    let is_gone = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    written.map_err(|error| if is_gone(&error) { ReaderGone.into() } else { error.into() })
}

/// The output format that a command was asked for, by its arguments.
pub(crate) fn format_of(arguments: &ArgMatches) -> Format {
    match arguments.subcommand() {
        Some((_, nested)) => format_of(nested),
        None => {
            // As text, since some commands have formats of their own.
            let asked = arguments.try_get_raw("output").ok().flatten();
            let is_json =
                asked.and_then(|mut asked| asked.next()).is_some_and(|asked| asked == "json");
            if is_json { Format::Json } else { Format::Table }
        }
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// A table without decoration, as it can be read and cut.
pub(crate) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(header);
    table
}
