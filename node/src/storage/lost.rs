//! The durable mark of a store that is short of what it acknowledged.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::StorageError;
use super::identity::sync_dir;

/// The name of the mark in the data directory.
pub(super) const FILE: &str = "lost";

/// Marks the store in `dir`, durable on return. The first reason stays.
///
/// # Errors
///
/// When the file system fails.
pub fn mark(dir: &Path, why: &str) -> Result<(), StorageError> {
    if read(dir)?.is_some() {
        return Ok(());
    }
    let (temporary, path) = (dir.join("lost.tmp"), dir.join(FILE));
    let mut file = File::create(&temporary).map_err(StorageError::io(&temporary))?;
    file.write_all(why.as_bytes()).map_err(StorageError::io(&temporary))?;
    file.sync_all().map_err(StorageError::io(&temporary))?;
    std::fs::rename(&temporary, &path).map_err(StorageError::io(&path))?;
    sync_dir(dir)
}

/// Why the store in `dir` is marked; `None` if it is not.
///
/// # Errors
///
/// When the file system fails.
pub fn read(dir: &Path) -> Result<Option<String>, StorageError> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(why) => Ok(Some(String::from_utf8_lossy(&why).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io(&path)(error)),
    }
}
