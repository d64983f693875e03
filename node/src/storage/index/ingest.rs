//! From the rows in memory to a table for the disk.

use std::path::PathBuf;

use rocksdb::SstFileWriter;

use super::super::StorageError;
use super::super::db::Database;
use super::super::keys::StateKeys;
use super::delta::Delta;

/// Writes the rows as a table for RocksDB to ingest.
///
/// # Errors
///
/// When the disk fails.
pub(super) fn table(
    database: &Database,
    keys: &StateKeys,
    delta: &Delta,
) -> Result<PathBuf, StorageError> {
    let path = database.table_path("index");
    let options = database.index_options();
    let mut writer = SstFileWriter::create(&options);
    writer.open(&path)?;

    // Table by table, in the order of their tags.
    let mut limited: Vec<_> = delta.limited.iter().collect();
    limited.sort_unstable_by_key(|(key, _)| *key);
    let mut value = Vec::new();
    for (key, held) in limited {
        value.clear();
        held.iter().for_each(|sequence| value.extend_from_slice(&sequence.to_be_bytes()));
        writer.put(keys.limited_recipient(key), &value)?;
    }
    let mut requests: Vec<_> = delta.requests.iter().collect();
    requests.sort_unstable();
    for (key, sequence) in requests {
        writer.put(keys.request(key), sequence.to_be_bytes())?;
    }
    let mut unlimited: Vec<_> = delta.unlimited.iter().collect();
    unlimited.sort_unstable_by_key(|(key, _)| *key);
    for (key, held) in unlimited {
        for sequence in held {
            writer.put(keys.unlimited_recipient(key, *sequence), [])?;
        }
    }
    let mut through: Vec<_> = delta.through.iter().collect();
    through.sort_unstable();
    for (number, sequence) in through {
        writer.put(keys.indexed_through(*number), sequence.to_be_bytes())?;
    }
    writer.finish()?;
    Ok(path)
}
