//! The floor: what the write-ahead log must hold, recorded beside it.
//!
//! RocksDB takes a write-ahead log that ends early for one whose last write was torn, and a missing one for
//! an empty one. So the last sequence number known to be durable is kept in a file of its own, outside of the
//! database. After recovery, the latest sequence number of RocksDB must not be less.
//!
//! The file has two slots of 16 bytes, 512 bytes apart: the sequence number (`u64`, big-endian), the
//! CRC-32 of these eight bytes (`u32`, big-endian), zeros. They are written in turn and in place, so that
//! a torn write leaves the other one. The greater of the valid ones counts.
//!
//! Caveat: the file is not synced with every write. It survives the end of the process exactly. A power cut
//! may leave an older number, which demands less than it could, but never more than is true.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::StorageError;
use super::identity::sync_dir;

/// The name of the file in the data directory.
const FILE: &str = "floor";
/// The distance between the two slots: a sector, the unit that disks write as a whole.
const SLOT_DISTANCE: u64 = 512;
/// The size of a slot.
const SLOT_BYTES: usize = 16;

/// The floor of one store.
#[derive(Debug)]
pub struct Floor {
    file: File,
    path: PathBuf,
    sequence: u64,
    /// The slot that is written next.
    turn: u64,
}

impl Floor {
    /// Makes the floor of a new store, which demands nothing yet; durable on return.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn create(dir: &Path) -> Result<Self, StorageError> {
        let temporary = dir.join("floor.tmp");
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&temporary)
            .map_err(StorageError::io(&temporary))?;
        let path = dir.join(FILE);
        let mut floor = Self { file, path, sequence: 0, turn: 0 };
        floor.write()?;
        floor.write()?;
        floor.sync()?;
        std::fs::rename(&temporary, &floor.path).map_err(StorageError::io(&floor.path))?;
        sync_dir(dir)?;
        Ok(floor)
    }

    /// Opens the floor of the store in `dir`; `None` when there is no file.
    ///
    /// # Errors
    ///
    /// When neither slot is valid, or the file system fails.
    pub fn open(dir: &Path) -> Result<Option<Self>, StorageError> {
        let path = dir.join(FILE);
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io(&path)(error)),
        };
        let slots = [0, 1].map(|turn| {
            let mut slot = [0; SLOT_BYTES];
            match file.read_exact_at(&mut slot, turn * SLOT_DISTANCE) {
                Ok(()) => Ok(unseal(&slot).map(|sequence| (sequence, turn))),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(StorageError::io(&path)(error)),
            }
        });
        let [first, second] = slots;
        let newest = first?.max(second?);
        let (sequence, newest) =
            newest.ok_or_else(|| StorageError::corrupt("floor", "neither slot is valid"))?;
        Ok(Some(Self { file, path, sequence, turn: 1 - newest }))
    }

    /// The greatest sequence number known to be durable.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Notes that everything up to `sequence` is durable.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn raise(&mut self, sequence: u64) -> Result<(), StorageError> {
        if sequence <= self.sequence {
            return Ok(());
        }
        self.sequence = sequence;
        self.write()
    }

    /// Makes the file durable.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.file.sync_all().map_err(StorageError::io(&self.path))
    }

    fn write(&mut self) -> Result<(), StorageError> {
        let written = self.file.write_all_at(&seal(self.sequence), self.turn * SLOT_DISTANCE);
        written.map_err(StorageError::io(&self.path))?;
        self.turn = 1 - self.turn;
        Ok(())
    }
}

fn seal(sequence: u64) -> [u8; SLOT_BYTES] {
    let number = sequence.to_be_bytes();
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&number);
    slot[8..12].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
    slot
}

fn unseal(slot: &[u8; SLOT_BYTES]) -> Option<u64> {
    let (number, rest) = slot.split_first_chunk::<8>()?;
    let sum = rest.first_chunk::<4>()?;
    (crc32fast::hash(number).to_be_bytes() == *sum).then_some(u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(dir: &Path) -> Option<u64> {
        Floor::open(dir).unwrap().map(|floor| floor.sequence())
    }

    fn overwrite(dir: &Path, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(dir.join(FILE)).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    #[test]
    fn it_rises_and_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(sequence(dir.path()), None);
        let mut floor = Floor::create(dir.path()).unwrap();
        assert_eq!(sequence(dir.path()), Some(0));
        for next in [3, 9, 7, 12, 12] {
            floor.raise(next).unwrap();
        }
        drop(floor);
        assert_eq!(sequence(dir.path()), Some(12));
        let mut floor = Floor::open(dir.path()).unwrap().unwrap();
        floor.raise(13).unwrap();
        assert_eq!(sequence(dir.path()), Some(13));
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        for torn in [3, 4] {
            let dir = tempfile::tempdir().unwrap();
            let mut floor = Floor::create(dir.path()).unwrap();
            (1..=torn).for_each(|next| floor.raise(next).unwrap());
            // Slots are written in turn: the first one holds the odd numbers.
            let offset = (torn + 1) % 2 * SLOT_DISTANCE;
            overwrite(dir.path(), offset, &[0xFF; 5]);
            assert_eq!(sequence(dir.path()), Some(torn - 1));
            // The torn one is the one that is written next.
            let mut floor = Floor::open(dir.path()).unwrap().unwrap();
            floor.raise(torn + 5).unwrap();
            assert_eq!(sequence(dir.path()), Some(torn + 5));
        }
    }

    #[test]
    fn a_file_without_a_valid_slot_is_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        Floor::create(dir.path()).unwrap().raise(5).unwrap();
        overwrite(dir.path(), 0, &[1; SLOT_BYTES]);
        overwrite(dir.path(), SLOT_DISTANCE, &[1; SLOT_BYTES]);
        assert!(matches!(Floor::open(dir.path()), Err(StorageError::Corrupt { .. })));
        std::fs::write(dir.path().join(FILE), b"").unwrap();
        assert!(matches!(Floor::open(dir.path()), Err(StorageError::Corrupt { .. })));
    }
}
