//! The manifest of a backup: the file that is written last and makes a directory a backup.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version of the layout of a backup.
pub(crate) const VERSION: u32 = 12;

/// The name of the manifest.
const MANIFEST: &str = "manifest.json";

/// The name of the shard map.
pub(crate) const MAP: &str = "shard-map.pb";

/// The contents of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of the layout.
    pub(crate) version: u32,
    /// The version of the program that took the backup.
    pub(crate) program: String,
    /// When it began. It includes everything that was acknowledged before.
    pub(crate) began_at: String,
    /// The cluster.
    pub(crate) cluster_id: String,
    /// The epoch of its ring.
    pub(crate) epoch: u64,
    /// SHA-256 over the file of the shard map, hex.
    pub(crate) map_sha256: String,
    /// The shards, by id.
    pub(crate) shards: Vec<ShardEntry>,
    /// SHA-256 over this manifest with this field empty, hex.
    pub(crate) checksum: String,
}

/// The state of a shard in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardEntry {
    /// The shard.
    pub(crate) shard_id: u32,
    /// The name of the file.
    pub(crate) file: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// SHA-256 over the file, hex.
    pub(crate) sha256: String,
    /// SHA-256 over the rows of the state, hex.
    pub(crate) state: String,
    /// The log index of the state.
    pub(crate) applied_index: u64,
    /// The log time of the state: microseconds since 1970.
    pub(crate) log_time_micros: u64,
    /// Its number of rows.
    pub(crate) rows: u64,
    /// Its number of campaigns.
    pub(crate) campaigns: u64,
    /// Its number of coupons.
    pub(crate) coupons: u64,
}

impl Manifest {
    /// The file of a shard.
    pub(crate) fn file_of(shard_id: u32) -> String {
        format!("shard-{shard_id:04}.snapshot")
    }

    /// The number of coupons in the backup.
    pub(crate) fn coupons(&self) -> u64 {
        self.shards.iter().map(|shard| shard.coupons).sum()
    }

    /// The size of all states in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }

    /// Writes it, which makes `dir` a backup. Everything that it names must be durable already.
    ///
    /// # Errors
    /// When the file system fails.
    pub(crate) fn write(mut self, dir: &Path) -> anyhow::Result<Self> {
        self.checksum = self.sum()?;
        let mut text = serde_json::to_vec_pretty(&self)?;
        text.push(b'\n');
        write_private(&dir.join(MANIFEST), &text)?;
        Ok(self)
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// When the file is missing, it is damaged, or it is of another version.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let path = dir.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "{} is no whole backup: it has no {MANIFEST}, which is written last; use another backup",
                dir.display()
            ),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let damaged = || format!("{} is damaged", path.display());
        let found: Versioned = serde_json::from_slice(&text).with_context(damaged)?;
        if found.version != VERSION {
            bail!(
                "{} has version {}; this program knows {VERSION}: use the program that wrote it",
                path.display(),
                found.version
            );
        }
        let manifest: Self = serde_json::from_slice(&text).with_context(damaged)?;
        if manifest.sum()? != manifest.checksum {
            bail!("{}: its checksum does not match", damaged());
        }
        Ok(manifest)
    }

    fn sum(&self) -> anyhow::Result<String> {
        let unsigned = Self { checksum: String::new(), ..self.clone() };
        Ok(hex(&Sha256::digest(serde_json::to_vec(&unsigned)?)))
    }
}

/// Bytes in lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new file that only its owner may read.
///
/// # Errors
/// When it cannot be made.
pub(super) fn create_private(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.with_context(|| path.display().to_string())
}

/// Renames a file that is whole and synced to its final name, durably.
///
/// # Errors
/// When the file system fails.
pub(super) fn keep(partial: &Path, path: &Path) -> anyhow::Result<()> {
    let dir = path.parent().context("a file of a backup is in its directory")?;
    std::fs::rename(partial, path)
        .and_then(|()| File::open(dir)?.sync_all())
        .with_context(|| path.display().to_string())
}

/// The name of a file while it is written.
pub(super) fn partial(path: &Path) -> PathBuf {
    path.with_added_extension("partial")
}

/// Writes a small file so that a crash leaves all of it or nothing under its name.
///
/// # Errors
/// When the file system fails.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = partial(path);
    let mut file = create_private(&partial)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| partial.display().to_string())?;
    keep(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            version: VERSION,
            program: "0.1.0".to_owned(),
            began_at: "2026-11-27T00:00:00Z".to_owned(),
            cluster_id: "the-cluster".to_owned(),
            epoch: 3,
            map_sha256: hex(&[1; 32]),
            shards: vec![ShardEntry {
                shard_id: 1,
                file: Manifest::file_of(1),
                bytes: 10,
                sha256: hex(&[2; 32]),
                state: hex(&[3; 32]),
                applied_index: 7,
                log_time_micros: 8,
                rows: 9,
                campaigns: 1,
                coupons: 5,
            }],
            checksum: String::new(),
        }
    }

    #[test]
    fn it_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let written = manifest().write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), written);
        assert_eq!((written.coupons(), written.bytes()), (5, 10));
    }

    /// A whole file. The checksum comes from `hashlib.sha256` of Python.
    const GOLDEN: &str = r#"{
  "version": 12,
  "program": "0.1.0",
  "began_at": "2026-11-27T00:00:00Z",
  "cluster_id": "the-cluster",
  "epoch": 3,
  "map_sha256": "0101010101010101010101010101010101010101010101010101010101010101",
  "shards": [
    {
      "shard_id": 1,
      "file": "shard-0001.snapshot",
      "bytes": 10,
      "sha256": "0202020202020202020202020202020202020202020202020202020202020202",
      "state": "0303030303030303030303030303030303030303030303030303030303030303",
      "applied_index": 7,
      "log_time_micros": 8,
      "rows": 9,
      "campaigns": 1,
      "coupons": 5
    }
  ],
  "checksum": "b85eaf3475a295d2ac0f3ab1d523a9021077906fa2606daeaaa3e195c3f0d9a8"
}
"#;

    #[test]
    fn it_is_written_and_read_as_ever() {
        let dir = tempfile::tempdir().unwrap();
        manifest().write(dir.path()).unwrap();
        let path = dir.path().join("manifest.json");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            GOLDEN,
            "the format of the manifest has changed: backups would not be read any more. Undo that, or raise \
             `VERSION` in manifest.rs and say so in node/FORMATS.md"
        );
        std::fs::write(&path, GOLDEN).unwrap();
        let read = Manifest::read(dir.path()).unwrap();
        assert_eq!(Manifest { checksum: String::new(), ..read }, manifest());
    }

    #[test]
    fn every_flipped_bit_that_changes_it_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let written = manifest().write(dir.path()).unwrap();
        let path = dir.path().join(MANIFEST);
        let good = std::fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            std::fs::write(&path, bad).unwrap();
            // A byte that means nothing may be another one.
            let read = Manifest::read(dir.path());
            assert!(read.is_err() || read.is_ok_and(|read| read == written));
        }
    }

    #[test]
    fn another_version_and_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let none = Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(none.contains("is no whole backup"), "{none}");
        Manifest { version: 1, ..manifest() }.write(dir.path()).unwrap();
        let other = Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(other.contains("has version 1; this program knows 12"), "{other}");
    }
}
