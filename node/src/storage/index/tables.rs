//! The tables of an index: a directory.
//!
//! Each full memtable becomes a table, a *part* with the next number. [`MERGED`] tables of equally many parts,
//! next to each other, are compacted into one (size-tiered compaction). So a claim is rewritten rarely, and the
//! number of tables grows with the logarithm of the number of coupons. A table is named by its first and last part.
//! A table whose parts are all in another one was left by a crash, and is removed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coupon_env::entropy;

use super::super::StorageError;
use super::super::identity::sync_dir;
use super::claim::{Claim, SECRET_BYTES};
use super::memtable::Memtable;
use super::table::{self, Table, TableWriter};

/// Number of tables that are merged into one.
const MERGED: usize = 8;

/// Number of claims that are merged between two looks at what else there is to do: some milliseconds.
pub(super) const STEP_CLAIMS: usize = if cfg!(test) { 16 } else { 1 << 16 };

/// What came of a merge.
#[derive(Debug)]
pub(super) enum Merge {
    /// The table.
    Done(Table),
    /// It was told not to go on.
    Ended,
    /// There is no room for the table on the disk.
    NoRoom(StorageError),
}

/// The directory of an index.
#[derive(Debug)]
pub(super) struct TableDir {
    path: PathBuf,
    secret: [u8; SECRET_BYTES],
}

impl TableDir {
    /// Opens the directory of an index, made at need, and its tables, the oldest first. Tables that are not
    /// whole are removed, all of them: the index is made again from the coupons.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub(super) fn open(path: PathBuf) -> Result<(Self, Vec<Arc<Table>>), StorageError> {
        std::fs::create_dir_all(&path).map_err(StorageError::io(&path))?;
        let tables = match open_all(&path) {
            Ok(tables) => tables,
            Err(StorageError::Corrupt { why, .. }) => {
                tracing::warn!(index = %path.display(), why, "the index is made again");
                return Self::renew(path);
            }
            Err(fault) => return Err(fault),
        };
        let secret = tables.first().and_then(|table| table.secret());
        let secret = secret.unwrap_or_else(entropy::secret);
        Ok((Self { path, secret }, tables))
    }

    /// Removes all tables.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub(super) fn renew(path: PathBuf) -> Result<(Self, Vec<Arc<Table>>), StorageError> {
        remove(&path)?;
        std::fs::create_dir_all(&path).map_err(StorageError::io(&path))?;
        Ok((Self { path, secret: entropy::secret() }, Vec::new()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The secret with which keys are hashed.
    pub(super) fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// Writes a memtable as the table after `tables`.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub(super) fn add(
        &self,
        tables: &[Arc<Table>],
        memtable: &Memtable,
    ) -> Result<Table, StorageError> {
        let part = tables.last().map_or(0, |last| *last.parts().end()) + 1;
        let mut writer = TableWriter::create(&self.path, part..=part, &self.secret)?;
        memtable.sorted().into_iter().try_for_each(|claim| writer.push(claim))?;
        let through = memtable.through().map(|(number, sequence)| (number, sequence.into()));
        writer.finish(through)
    }

    /// Merges tables that are next to each other into one, without the claims of the campaigns in `freed`. The caller
    /// removes them. Ends early if `goes_on`, which is
    /// asked now and then, says no.
    ///
    /// # Errors
    ///
    /// When a table is damaged, the file system fails for another reason than lack of room, or `goes_on` fails.
    pub(super) fn merge(
        &self,
        tables: &[Arc<Table>],
        freed: &BTreeSet<u32>,
        mut goes_on: impl FnMut() -> Result<bool, StorageError>,
    ) -> Result<Merge, StorageError> {
        let (Some(first), Some(last)) = (tables.first(), tables.last()) else {
            return Ok(Merge::Ended);
        };
        let parts = *first.parts().start()..=*last.parts().end();
        let mut writer = match TableWriter::create(&self.path, parts, &self.secret) {
            Ok(writer) => writer,
            Err(fault) => return no_room(fault),
        };
        let mut merged: usize = 0;
        let mut sources: Vec<_> =
            tables.iter().map(|table| table.claims_from(Claim::FIRST)).collect();
        let mut heads = BinaryHeap::new();
        for (place, source) in sources.iter_mut().enumerate() {
            if let Some(claim) = source.next() {
                heads.push(Reverse((claim?, place)));
            }
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((claim, place)) = *head;
            if !freed.contains(&claim.key.number)
                && let Err(fault) = writer.push(claim)
            {
                return no_room(fault);
            }
            match sources[place].next() {
                Some(next) => *head = Reverse((next?, place)),
                None => {
                    std::collections::binary_heap::PeekMut::pop(head);
                }
            }
            merged += 1;
            if merged.is_multiple_of(STEP_CLAIMS) && !goes_on()? {
                return Ok(Merge::Ended);
            }
        }
        let mut through = BTreeMap::new();
        tables.iter().for_each(|table| through.extend(table.through()));
        writer.finish(through.into_iter()).map(Merge::Done).or_else(no_room)
    }
}

/// A merge that failed, if that is for lack of room alone.
fn no_room(fault: StorageError) -> Result<Merge, StorageError> {
    use ErrorKind::{QuotaExceeded, StorageFull};
    let is_full = matches!(&fault, StorageError::Io { source, .. }
        if matches!(source.kind(), StorageFull | QuotaExceeded));
    if is_full { Ok(Merge::NoRoom(fault)) } else { Err(fault) }
}

/// Removes the directory of an index.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(StorageError::io(path)),
    }
}

/// The places of tables that are to be merged.
pub(super) fn pick_compaction(tables: &[Arc<Table>]) -> Option<Range<usize>> {
    let level =
        |table: &Arc<Table>| (table.parts().end() - table.parts().start() + 1).ilog(MERGED as u64);
    let is_alike = |some: &[Arc<Table>]| some.iter().all(|table| level(table) == level(&some[0]));
    let start = tables.windows(MERGED).position(is_alike)?;
    Some(start..start + MERGED)
}

/// Opens all tables of a directory, and removes what a crash left.
fn open_all(dir: &Path) -> Result<Vec<Arc<Table>>, StorageError> {
    let (mut found, mut left_over) = (Vec::new(), Vec::new());
    for file in std::fs::read_dir(dir).map_err(StorageError::io(dir))? {
        let path = file.map_err(StorageError::io(dir))?.path();
        if path.extension() == Some(OsStr::new(table::TEMPORARY)) {
            left_over.push(path);
        } else if path.extension() == Some(OsStr::new(table::SUFFIX)) {
            let parts = parts_in_name(&path);
            found.push((parts.ok_or_else(|| corrupt_index("a name without parts"))?, path));
        } else {
            return Err(corrupt_index("a file that is no table"));
        }
    }
    // The wider one of two that begin alike comes first.
    found.sort_unstable_by_key(|(parts, _)| (*parts.start(), Reverse(*parts.end())));
    let mut tables: Vec<Arc<Table>> = Vec::new();
    for (parts, path) in found {
        let end = tables.last().map_or(0, |last| *last.parts().end());
        if *parts.end() <= end {
            left_over.push(path);
        } else if *parts.start() == end + 1 {
            tables.push(Arc::new(Table::open(path, parts)?));
        } else {
            return Err(corrupt_index("a table is missing"));
        }
    }
    if tables.windows(2).any(|pair| pair[0].secret() != pair[1].secret()) {
        return Err(corrupt_index("tables with different secrets"));
    }
    if tables.iter().any(|table| table.secret().is_none()) {
        return Err(corrupt_index("a table without a secret"));
    }
    if !left_over.is_empty() {
        // The name of the table that has their claims must not be lost after them.
        sync_dir(dir)?;
    }
    for path in left_over {
        std::fs::remove_file(&path).map_err(StorageError::io(&path))?;
    }
    Ok(tables)
}

fn corrupt_index(why: &str) -> StorageError {
    StorageError::corrupt("index", why)
}

fn parts_in_name(path: &Path) -> Option<RangeInclusive<u64>> {
    let (first, last) = path.file_stem()?.to_str()?.split_once('-')?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}
