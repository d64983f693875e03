//! The format of snapshot files: a magic number and frames, which are a header, chunks of rows in key
//! order, and a footer. Each frame has a length and a CRC-32; the footer has the number of rows and a
//! SHA-256 over all of them.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use coupon_proto::internal as pb;
use prost::Message as _;

use super::StorageError;
use super::digest::{Digest, RowSum};
use super::ledger::decode;

/// The version of the format.
pub(super) const VERSION: u32 = 14;

const MAGIC: &[u8; 8] = b"CPNSNAP\x01";
/// Target size of a chunk: large enough that framing costs nothing, small enough that memory stays
/// flat.
const CHUNK_BYTES: usize = 256 << 10;
/// Maximum length of a frame; a greater length comes from a damaged file.
const FRAME_BYTES_MAX: u32 = 64 << 20;

const HEADER: u8 = b'H';
const CHUNK: u8 = b'C';
const FOOTER: u8 = b'F';

/// A row: key without prefix, and value.
pub(super) type Row = (Box<[u8]>, Box<[u8]>);

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StorageError),
    /// The output fails.
    #[error(transparent)]
    Out(#[from] std::io::Error),
}

/// Writes a whole snapshot, and returns the output.
///
/// # Errors
///
/// When a row cannot be read or written.
pub(super) fn write<W: Write>(
    out: W,
    header: &pb::SnapshotHeader,
    rows: impl Iterator<Item = Result<Row, StorageError>>,
) -> Result<W, WriteError> {
    let mut frames = FrameWriter { out };
    frames.out.write_all(MAGIC)?;
    frames.write(HEADER, &header.encode_to_vec())?;
    let mut chunk = pb::SnapshotChunk::default();
    let mut chunk_bytes = 0;
    let mut sum = RowSum::default();
    for row in rows {
        let (key, value) = row?;
        sum.add(&key, &value);
        chunk_bytes += key.len() + value.len();
        chunk.entries.push(pb::KeyValue { key: key.into(), value: value.into() });
        if chunk_bytes >= CHUNK_BYTES {
            frames.write(CHUNK, &std::mem::take(&mut chunk).encode_to_vec())?;
            chunk_bytes = 0;
        }
    }
    frames.write(CHUNK, &chunk.encode_to_vec())?;
    let (key_count, digest) = sum.finish();
    let footer = pb::SnapshotFooter { key_count, digest: digest.to_vec() };
    frames.write(FOOTER, &footer.encode_to_vec())?;
    Ok(frames.out)
}

struct FrameWriter<W> {
    out: W,
}

impl<W: Write> FrameWriter<W> {
    fn write(&mut self, kind: u8, body: &[u8]) -> Result<(), WriteError> {
        let length = u32::try_from(body.len())
            .map_err(|_| StorageError::corrupt("snapshot", "a frame is too long"))?;
        let sum = crc32fast::hash(body);
        self.out.write_all(&[kind])?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&sum.to_be_bytes())?;
        Ok(self.out.write_all(body)?)
    }
}

/// Maps a fault of the file system. A file that ends too early counts as damaged.
fn unless_short(path: &Path) -> impl FnOnce(std::io::Error) -> StorageError + '_ {
    move |error| {
        if error.kind() == ErrorKind::UnexpectedEof {
            StorageError::corrupt("snapshot", "it ends too early")
        } else {
            StorageError::io(path)(error)
        }
    }
}

/// Reads a snapshot file from its beginning to its end.
pub(super) struct FrameReader {
    file: BufReader<File>,
    path: PathBuf,
}

impl FrameReader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is no snapshot.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let file = File::open(path).map_err(StorageError::io(path))?;
        let mut file = BufReader::new(file);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(unless_short(path))?;
        if magic != *MAGIC {
            return Err(StorageError::corrupt("snapshot", "not a snapshot file"));
        }
        Ok(Self { file, path: path.to_owned() })
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), StorageError> {
        let mut head = [0; 9];
        self.file.read_exact(&mut head).map_err(unless_short(&self.path))?;
        let [kind, l0, l1, l2, l3, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length > FRAME_BYTES_MAX {
            return Err(StorageError::corrupt("snapshot", format!("a frame of {length} bytes")));
        }
        let mut body = vec![0; length as usize];
        self.file.read_exact(&mut body).map_err(unless_short(&self.path))?;
        if crc32fast::hash(&body) != u32::from_be_bytes([s0, s1, s2, s3]) {
            return Err(StorageError::corrupt("snapshot", "checksum of a frame does not match"));
        }
        Ok((kind, body))
    }

    /// The header, which comes first.
    ///
    /// # Errors
    ///
    /// When the file is damaged or of another version, or cannot be read.
    pub(super) fn header(&mut self) -> Result<pb::SnapshotHeader, StorageError> {
        let (kind, body) = self.next()?;
        let header: pb::SnapshotHeader = decode("snapshot header", &body)?;
        if kind != HEADER || header.version != VERSION {
            let why = format!("version {} is not {VERSION}", header.version);
            return Err(StorageError::corrupt("snapshot", why));
        }
        Ok(header)
    }

    /// Calls `row` with every key and value, checks at the end that it was all of them, and
    /// returns how many there were and their digest.
    ///
    /// # Errors
    ///
    /// When the file is damaged or cannot be read, or `row` fails.
    pub(super) fn for_each_row(
        &mut self,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<(), StorageError>,
    ) -> Result<(u64, Digest), StorageError> {
        let mut sum = RowSum::default();
        loop {
            let (kind, body) = self.next()?;
            match kind {
                CHUNK => {
                    let chunk: pb::SnapshotChunk = decode("snapshot chunk", &body)?;
                    for entry in &chunk.entries {
                        sum.add(&entry.key, &entry.value);
                        row(&entry.key, &entry.value)?;
                    }
                }
                FOOTER => {
                    let footer: pb::SnapshotFooter = decode("snapshot footer", &body)?;
                    let (count, digest) = sum.finish();
                    if footer.key_count != count || footer.digest != digest {
                        return Err(StorageError::corrupt("snapshot", "digest does not match"));
                    }
                    return Ok((count, digest));
                }
                other => {
                    let why = format!("a frame of kind {other}");
                    return Err(StorageError::corrupt("snapshot", why));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    /// A whole file with two rows.
    const GOLDEN: &str = "
        43 50 4e 53 4e 41 50 01                     | magic number: CPNSNAP, 1
        48  00 00 00 19  30 c1 14 ad                | H: header of 25 bytes, CRC-32
        08 0e  10 82 02                             | version 14, shard_id 258
        1a 08  0a 06 08 01 10 07 18 04              | applied: last_applied 1, 7, 4
        22 08  0a 06 08 01 10 07 18 01              | terms: one, 1, 7, 1
        43  00 00 00 29  cd 84 86 ef                | C: chunk of 41 bytes, CRC-32
        0a 13  0a 05 4e 00 00 00 00                 | key: N, campaign number 0
               12 0a 08 02 10 03 18 02 20 fe ff 03  | value: CampaignCounters
        0a 12  0a 01 53                             | key: S
               12 0d 08 01 12 02 82 02 18 01 20 01 28 b8 17 | value: ShardRecord
        46  00 00 00 24  af f2 ad 1f                | F: footer of 36 bytes, CRC-32
        08 02                                       | key_count 2
        12 20 38 91 ca b2 f5 87 50 a4 ed eb 23 48 28 4d ec 99 | digest: SHA-256 over
              e4 76 e5 60 6a a8 7b 60 41 cd da fc 1a d1 14 c2 | lengths, keys and values
    ";

    fn header() -> pb::SnapshotHeader {
        let last_applied = Some(pb::LogId { term: 1, leader_replica_id: 7, index: 4 });
        let start = pb::TermStart { term: 1, leader_replica_id: 7, first_index: 1 };
        pb::SnapshotHeader {
            version: VERSION,
            shard_id: 258,
            applied: Some(pb::AppliedRecord { last_applied, membership: None }),
            terms: Some(pb::TermStarts { starts: vec![start] }),
        }
    }

    fn rows() -> [Row; 2] {
        let counters = pb::CampaignCounters {
            issued: 2,
            revision: 3,
            next_counter: 2,
            block_left: 65_534,
            ..Default::default()
        };
        let shard = pb::ShardRecord {
            epoch: 1,
            ring_shards: vec![258],
            next_campaign_number: 1,
            next_block: 1,
            log_time_micros: 3_000,
            ..Default::default()
        };
        let row = |key: &[u8], value: Vec<u8>| (Box::from(key), value.into());
        [row(b"N\0\0\0\0", counters.encode_to_vec()), row(b"S", shard.encode_to_vec())]
    }

    #[test]
    fn a_file_is_written_as_ever() {
        let written = write(Vec::new(), &header(), rows().into_iter().map(Ok)).unwrap();
        golden::check("snapshot files", "`VERSION` in frames.rs", &written, GOLDEN);
    }

    #[test]
    fn a_file_is_read_as_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("golden");
        std::fs::write(&path, golden::bytes(GOLDEN)).unwrap();
        let mut frames = FrameReader::open(&path).unwrap();
        assert_eq!(frames.header().unwrap(), header());
        let mut read = Vec::new();
        let row = |key: &[u8], value: &[u8]| {
            read.push((Box::from(key), Box::from(value)));
            Ok(())
        };
        frames.for_each_row(row).unwrap();
        assert_eq!(read, rows());
    }
}
