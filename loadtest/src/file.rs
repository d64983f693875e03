//! Files that are there completely or not at all.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", path.display())]
pub struct FileError {
    /// What was to be done.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it failed.
    pub source: std::io::Error,
}

/// Writes a temporary file beside `path` and renames it to `path` when it is complete. Its permissions are
/// `mode` less the process's umask.
pub(crate) fn replace(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), FileError> {
    let write = || {
        let mut file = beside(path, mode)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| FileError { what: "write", path: path.into(), source })
}

/// A file in the directory of another one, which is removed if it does not take its place.
pub(crate) fn beside(path: &Path, mode: u32) -> std::io::Result<NamedTempFile> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let permissions = Permissions::from_mode(mode);
    tempfile::Builder::new().permissions(permissions).tempfile_in(directory)
}
