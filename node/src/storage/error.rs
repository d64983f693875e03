//! A fault of local storage.

use std::path::PathBuf;

/// A fault of local storage. It never becomes an answer: code on the path of replicated writes that meets one
/// must end the process ([`super::fatal::abort`]).
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// RocksDB failed.
    #[error("RocksDB: {0}")]
    RocksDb(#[from] rocksdb::Error),
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Something on disk is not what was written there.
    #[error("corrupt {what}: {why}")]
    Corrupt {
        /// What is corrupt.
        what: &'static str,
        /// How that shows.
        why: String,
    },
    /// The store has lost acknowledged writes, and is marked as lost.
    #[error(
        "the store in {} has lost writes that it had acknowledged: {why}. It never votes, leads or \
         answers again; restart the node, and a fresh store replaces it",
        dir.display()
    )]
    Lost {
        /// The data directory.
        dir: PathBuf,
        /// How that shows.
        why: String,
    },
}

impl StorageError {
    /// Something on disk is not what was written there.
    pub fn corrupt(what: &'static str, why: impl ToString) -> Self {
        Self::Corrupt { what, why: why.to_string() }
    }

    /// The file system failed at `path`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl From<StorageError> for std::io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}
