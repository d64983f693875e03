//! The files that reports are written to.

use std::io::{Error, ErrorKind};
use std::path::Path;

use anyhow::Context as _;

/// Checks that a file can be written; it is left as it is.
///
/// # Errors
/// Why not, in words.
pub(crate) fn check_writable(path: &Path) -> Result<(), String> {
    let found = match std::fs::OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => make_and_remove(path),
        opened => opened.map(drop),
    };
    found.map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn make_and_remove(path: &Path) -> Result<(), Error> {
    std::fs::File::create_new(path)?;
    std::fs::remove_file(path)
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
