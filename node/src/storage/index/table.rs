//! A table: a file of claims in order, never changed.
//!
//! The file has blocks of 256 claims of 16 bytes, the last one shorter, each with its CRC-32 behind it; then an
//! `IndexTableFooter` and 16 bytes: the length of the tail and its CRC-32 (`u32` each), and a magic number. The tail
//! has the first claim of each block, so that a look-up reads one block of each table. All numbers are
//! big-endian.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coupon_proto::internal as pb;
use prost::Message as _;

use super::super::StorageError;
use super::super::identity::sync_dir;
use super::super::ledger::decode;
use super::claim::{CLAIM_BYTES, Claim, SECRET_BYTES};

/// The version of the format.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"CPNINDEX";
/// Claims of a block: a page of them. A look-up reads and checks one block of a table.
const BLOCK_CLAIMS: usize = 256;
const CRC_BYTES: usize = 4;
/// Distance between the beginnings of two blocks.
const BLOCK_BYTES: usize = BLOCK_CLAIMS * CLAIM_BYTES + CRC_BYTES;
const TRAILER_BYTES: usize = 16;
/// Bytes after which a writer waits for the disk. A table that goes to disk in one piece holds up the log.
const SYNC_BYTES: usize = 1 << 20;
/// The name of a table that is being written ends like this.
pub(super) const TEMPORARY: &str = "tmp";
/// The name of a table ends like this.
pub(super) const SUFFIX: &str = "table";
/// The name of a table that is damaged ends like this.
const DAMAGED: &str = "damaged";

/// An open table.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    path: PathBuf,
    parts: RangeInclusive<u64>,
    claims: usize,
    /// The first claim of each block.
    fences: Vec<Claim>,
    tail: pb::IndexTableFooter,
}

impl Table {
    /// Opens the table at `path`, which is made of these parts.
    ///
    /// # Errors
    ///
    /// When it is damaged, or the disk fails.
    pub(super) fn open(path: PathBuf, parts: RangeInclusive<u64>) -> Result<Self, StorageError> {
        let file = File::open(&path).map_err(StorageError::io(&path))?;
        let length = file.metadata().map_err(StorageError::io(&path))?.len();
        let (mut tail, tail_at) = read_tail(&file, &path, length)?;
        let bytes = std::mem::take(&mut tail.fences);
        let (fences, rest) = bytes.as_chunks::<CLAIM_BYTES>();
        let fences: Vec<_> = fences.iter().map(|fence| Claim::from_bytes(*fence)).collect();
        let claims = usize::try_from(tail.claims).unwrap_or(usize::MAX);
        let blocks = claims.div_ceil(BLOCK_CLAIMS);
        let end = claims.saturating_mul(CLAIM_BYTES).saturating_add(blocks * CRC_BYTES);
        if !rest.is_empty() || fences.len() != blocks || end as u64 != tail_at {
            return Err(damaged(&path, "the tail does not match the blocks"));
        }
        Ok(Self { file, path, parts, claims, fences, tail })
    }

    /// The secret with which keys are hashed; `None` unless it has 16 bytes.
    pub(super) fn secret(&self) -> Option<[u8; SECRET_BYTES]> {
        self.tail.secret[..].try_into().ok()
    }

    /// The number of claims.
    pub(super) fn len(&self) -> usize {
        self.claims
    }

    /// The numbers of the parts that it is made of.
    pub(super) fn parts(&self) -> &RangeInclusive<u64> {
        &self.parts
    }

    /// How far the coupons of campaigns are in this table and those before it: pairs of campaign number and
    /// sequence number, of those campaigns that have claims in this table.
    pub(super) fn through(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.tail.through.iter().map(|through| (through.campaign_number, through.sequence))
    }

    /// The claims that are not less than `first`, in order.
    pub(super) fn claims_from(self: &Arc<Self>, first: Claim) -> Claims {
        let block = self.fences.partition_point(|fence| *fence < first).saturating_sub(1);
        Claims { table: self.clone(), block, bytes: Vec::new(), at: 0, first }
    }

    /// Removes the file. Those who have it open still read it.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub(super) fn remove(&self) -> Result<(), StorageError> {
        std::fs::remove_file(&self.path).map_err(StorageError::io(&self.path))
    }

    /// Reads the claims of a block, checked.
    fn read_block(&self, block: usize, bytes: &mut Vec<u8>) -> Result<(), StorageError> {
        let claims = BLOCK_CLAIMS.min(self.claims - block * BLOCK_CLAIMS);
        bytes.resize(claims * CLAIM_BYTES + CRC_BYTES, 0);
        let read = self.file.read_exact_at(bytes, (block * BLOCK_BYTES) as u64);
        let crc = bytes.split_off(claims * CLAIM_BYTES);
        let why = if let Err(error) = read {
            error.to_string()
        } else if crc != crc32fast::hash(bytes).to_be_bytes() {
            "a block does not have its checksum".to_owned()
        } else if bytes.first_chunk().map(|claim| Claim::from_bytes(*claim))
            != Some(self.fences[block])
        {
            "a block is not the one that was written there".to_owned()
        } else {
            return Ok(());
        };
        // Out of the way, so that the next start makes the index again. Another reader may have been first.
        match std::fs::rename(&self.path, self.path.with_extension(DAMAGED)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StorageError::io(&self.path)(error))
            }
            Ok(()) | Err(_) => Err(damaged(&self.path, &why)),
        }
    }
}

fn damaged(path: &Path, why: &str) -> StorageError {
    StorageError::corrupt("index table", format!("{}: {why}", path.display()))
}

/// Reads the tail. Returns it with the place where it begins.
fn read_tail(
    file: &File,
    path: &Path,
    file_bytes: u64,
) -> Result<(pb::IndexTableFooter, u64), StorageError> {
    let short = || damaged(path, "it is too short");
    let mut trailer = [0; TRAILER_BYTES];
    let trailer_at = file_bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(short)?;
    file.read_exact_at(&mut trailer, trailer_at).map_err(StorageError::io(path))?;
    let [length, crc] = [0, 4].map(|at| {
        let number = trailer[at..].first_chunk().expect("the trailer is long enough");
        u32::from_be_bytes(*number)
    });
    if &trailer[8..] != MAGIC {
        return Err(damaged(path, "it does not end as one"));
    }
    let tail_at = trailer_at.checked_sub(u64::from(length)).ok_or_else(short)?;
    let mut tail = vec![0; length as usize];
    file.read_exact_at(&mut tail, tail_at).map_err(StorageError::io(path))?;
    if crc != crc32fast::hash(&tail) {
        return Err(damaged(path, "the tail does not have its checksum"));
    }
    let tail: pb::IndexTableFooter = decode("index table", &tail)?;
    if tail.version != VERSION {
        return Err(damaged(path, &format!("version {} instead of {VERSION}", tail.version)));
    }
    Ok((tail, tail_at))
}

/// Claims of a table, in order.
#[derive(Debug)]
pub(super) struct Claims {
    table: Arc<Table>,
    /// The block that is read next.
    block: usize,
    /// The block that was read last.
    bytes: Vec<u8>,
    /// The place of the next claim in `bytes`.
    at: usize,
    /// Claims before it are left out.
    first: Claim,
}

impl Iterator for Claims {
    type Item = Result<Claim, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(claim) = self.bytes[self.at..].first_chunk() {
                self.at += CLAIM_BYTES;
                return Some(Ok(Claim::from_bytes(*claim)));
            }
            if self.block == self.table.fences.len() {
                return None;
            }
            self.at = 0;
            if let Err(fault) = self.table.read_block(self.block, &mut self.bytes) {
                self.block = self.table.fences.len();
                self.bytes.clear();
                return Some(Err(fault));
            }
            self.block += 1;
            let (claims, _) = self.bytes.as_chunks();
            let before = claims.partition_point(|claim| Claim::from_bytes(*claim) < self.first);
            self.at = before * CLAIM_BYTES;
        }
    }
}

/// The path of a table.
fn path(dir: &Path, parts: &RangeInclusive<u64>, extension: &str) -> PathBuf {
    dir.join(format!("{:010}-{:010}.{extension}", parts.start(), parts.end()))
}

/// The path of a table that is being written. Nothing is there any more once it is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays is removed when the index is opened.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A table that is being written. It takes claims in order.
pub(super) struct TableWriter {
    out: BufWriter<File>,
    parts: RangeInclusive<u64>,
    temporary: Temporary,
    block: Vec<u8>,
    unsynced: usize,
    tail: pb::IndexTableFooter,
}

impl TableWriter {
    /// Begins a table in `dir` that is made of these parts, of keys that were hashed with `secret`.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub(super) fn create(
        dir: &Path,
        parts: RangeInclusive<u64>,
        secret: &[u8; SECRET_BYTES],
    ) -> Result<Self, StorageError> {
        let temporary = Temporary(path(dir, &parts, TEMPORARY));
        let file = File::create(&temporary.0).map_err(StorageError::io(&temporary.0))?;
        let tail = pb::IndexTableFooter {
            version: VERSION,
            secret: secret.to_vec(),
            ..Default::default()
        };
        let block = Vec::with_capacity(BLOCK_BYTES);
        Ok(Self { out: BufWriter::new(file), parts, temporary, block, unsynced: 0, tail })
    }

    /// Adds a claim.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub(super) fn push(&mut self, claim: Claim) -> Result<(), StorageError> {
        let bytes = claim.to_bytes();
        if self.block.is_empty() {
            self.tail.fences.extend_from_slice(&bytes);
        }
        self.block.extend_from_slice(&bytes);
        self.tail.claims += 1;
        if self.block.len() == BLOCK_CLAIMS * CLAIM_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    /// Ends the table; durable on return. `through` says how far the coupons of the campaigns in it are claimed.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub(super) fn finish(
        mut self,
        through: impl Iterator<Item = (u32, u64)>,
    ) -> Result<Table, StorageError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let through = through
            .map(|(campaign_number, sequence)| pb::IndexedThrough { campaign_number, sequence });
        self.tail.through = through.collect();
        let mut tail = self.tail.encode_to_vec();
        let length = u32::try_from(tail.len())
            .map_err(|_| StorageError::corrupt("index table", "its tail is too long"))?;
        let crc = crc32fast::hash(&tail);
        tail.extend_from_slice(&length.to_be_bytes());
        tail.extend_from_slice(&crc.to_be_bytes());
        tail.extend_from_slice(MAGIC);
        let written = self.out.write_all(&tail).and_then(|()| self.out.flush());
        let synced = written.and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(StorageError::io(&self.temporary.0))?;
        let dir = self.temporary.0.parent().unwrap_or(Path::new("."));
        let path = path(dir, &self.parts, SUFFIX);
        std::fs::rename(&self.temporary.0, &path).map_err(StorageError::io(&path))?;
        sync_dir(dir)?;
        Table::open(path, self.parts)
    }

    fn end_block(&mut self) -> Result<(), StorageError> {
        let crc = crc32fast::hash(&self.block);
        self.block.extend_from_slice(&crc.to_be_bytes());
        let mut written = self.out.write_all(&self.block);
        self.unsynced += self.block.len();
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            let synced = |()| self.out.flush().and_then(|()| self.out.get_ref().sync_data());
            written = written.and_then(synced);
        }
        self.block.clear();
        written.map_err(StorageError::io(&self.temporary.0))
    }
}

#[cfg(test)]
mod tests {
    use coupon_cluster::RequestId;

    use super::super::super::golden;
    use super::super::claim::KeyHasher;
    use super::*;

    /// A whole file with three claims: of a request and of a recipient to coupon 1 of campaign 5, and of the
    /// recipient to coupon 2.
    const GOLDEN: &str = "
        66 0e 3e 16 d6 35 51 f9  00 00 00 05  00 00 00 01 | SipHash-1-3 of Q and the request id, 5, 1
        c3 93 70 3c 3e 88 a7 79  00 00 00 05  00 00 00 01 | SipHash-1-3 of Palice, 5, 1
        c3 93 70 3c 3e 88 a7 79  00 00 00 05  00 00 00 02 |
        ff fd d2 bf                                       | CRC-32 of the block
        08 01                                             | version 1
        12 10 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f | secret
        18 03                                             | claims 3
        22 10 66 0e 3e 16 d6 35 51 f9 00 00 00 05 00 00 00 01 | fences: the first claim
        2a 04  08 05  10 02                               | through: campaign_number 5, sequence 2
        00 00 00 2e  69 25 44 07                          | length of the tail: 46; its CRC-32
        43 50 4e 49 4e 44 45 58                           | magic number: CPNINDEX
    ";

    #[test]
    fn a_table_is_written_and_read_as_ever() {
        let secret = std::array::from_fn(|place| u8::try_from(place).unwrap());
        let hasher = KeyHasher::new(&secret);
        let request = RequestId::from_bytes(&[0x21; 16]).unwrap();
        let keys = [hasher.request(5, &request), hasher.recipient(5, "alice")];
        let claims = [(keys[0], 1), (keys[1], 1), (keys[1], 2)];
        let claims = claims.map(|(key, sequence)| Claim { key, sequence });

        let dir = tempfile::tempdir().unwrap();
        let mut writer = TableWriter::create(dir.path(), 1..=3, &secret).unwrap();
        claims.into_iter().try_for_each(|claim| writer.push(claim)).unwrap();
        writer.finish([(5, 2)].into_iter()).unwrap();
        let path = dir.path().join("0000000001-0000000003.table");
        let written = std::fs::read(&path).unwrap();
        golden::check("index tables", "`VERSION` in table.rs", &written, GOLDEN);

        std::fs::write(&path, golden::bytes(GOLDEN)).unwrap();
        let table = Arc::new(Table::open(path, 1..=3).unwrap());
        assert_eq!(table.secret(), Some(secret));
        assert_eq!(table.through().collect::<Vec<_>>(), [(5, 2)]);
        let read: Vec<_> = table.claims_from(Claim::FIRST).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, claims);
    }
}
