//! The rows of a state as sorted tables, which RocksDB ingests: far cheaper than writing them one by one.

use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, Options, SstFileWriter};

use super::keys::StateKeys;
use super::{Storage, StorageError};

/// The tables of a state that is being put together. Those that a crash leaves are swept away when the storage is
/// opened.
pub(super) struct StateTables<'a> {
    storage: &'a Storage,
    keys: StateKeys,
    state: Table<'a>,
    coupons: Table<'a>,
}

impl<'a> StateTables<'a> {
    /// Begins the tables of the state that `keys` name. `name` is theirs alone; `options` are those of the
    /// [storage](Storage::table_options).
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn create(
        storage: &'a Storage,
        options: &'a Options,
        keys: StateKeys,
        name: &str,
    ) -> Result<Self, StorageError> {
        let create = |family| {
            Table::create(options, storage.snapshot_dir().join(format!("{name}-{family}.sst")))
        };
        Ok(Self { storage, keys, state: create("state")?, coupons: create("coupons")? })
    }

    /// Adds a row, by its key without the prefix. Rows come in the order of their keys.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn put(&mut self, suffix: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let key = self.keys.with_suffix(suffix);
        let is_coupon_row = StateKeys::is_coupon_row(&key);
        let table = if is_coupon_row { &mut self.coupons } else { &mut self.state };
        table.rows += 1;
        Ok(table.writer.put(key, value)?)
    }

    /// Ingests the rows, durable on return.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn ingest(self) -> Result<(), StorageError> {
        self.coupons.ingest(self.storage, self.storage.coupons())?;
        self.state.ingest(self.storage, self.storage.state())
    }
}

struct Table<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    rows: u64,
}

impl<'a> Table<'a> {
    fn create(options: &'a Options, path: PathBuf) -> Result<Self, StorageError> {
        let writer = SstFileWriter::create(options);
        writer.open(&path)?;
        Ok(Self { writer, path, rows: 0 })
    }

    fn ingest(mut self, storage: &Storage, family: &ColumnFamily) -> Result<(), StorageError> {
        // RocksDB has no table without rows.
        if self.rows == 0 {
            return remove(&self.path);
        }
        self.writer.finish()?;
        storage.ingest(family, &self.path)
    }
}

/// Removes a table that was begun, if it is there.
fn remove(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io(path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
