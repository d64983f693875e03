//! The durable mark of a store that has lost acknowledged writes.
//!
//! A replica that forgot what it acknowledged must never vote, lead or answer again: with its vote, a quorum
//! could decide without the entries of an earlier quorum. It cannot know what it forgot, so nothing repairs
//! it; a fresh store replaces it.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::StorageError;
use super::identity::sync_dir;

/// The name of the mark in the data directory. The file holds the reason as text.
pub(super) const FILE: &str = "lost";

/// Marks the store in `dir` as lost, durable on return. The first reason stays.
///
/// # Errors
///
/// When the file system fails.
pub fn mark(dir: &Path, why: &str) -> Result<(), StorageError> {
    if read(dir)?.is_some() {
        return Ok(());
    }
    let temporary = dir.join("lost.tmp");
    let mut file = File::create(&temporary).map_err(StorageError::io(&temporary))?;
    file.write_all(why.as_bytes()).map_err(StorageError::io(&temporary))?;
    file.sync_all().map_err(StorageError::io(&temporary))?;
    let path = dir.join(FILE);
    std::fs::rename(&temporary, &path).map_err(StorageError::io(&path))?;
    sync_dir(dir)
}

/// Removes the mark, durable on return, after an operator has decided to keep what the store holds.
///
/// # Errors
///
/// When the file system fails.
pub(crate) fn clear(dir: &Path) -> Result<(), StorageError> {
    let path = dir.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => {
            removed.map_err(StorageError::io(&path))?;
            sync_dir(dir)
        }
    }
}

/// Why the store in `dir` is lost; `None` when it is not marked.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        mark(dir.path(), "first").unwrap();
        mark(dir.path(), "second").unwrap();
        assert_eq!(read(dir.path()).unwrap().as_deref(), Some("first"));
    }
}
