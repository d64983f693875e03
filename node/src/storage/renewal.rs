//! A store that is short of what it acknowledged makes room for a fresh one.
//!
//! The short store must never vote again, but it may hold what nobody else does. So nothing of it is
//! deleted: once the cluster has written it off in favour of its successor, it is moved into a folder of
//! its own inside the data directory, and the directory becomes the successor's.
//!
//! That folder is made first, and while it is there without the move being complete, whoever opens the
//! directory completes it: every step may be repeated.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use coupon_proto::internal::StoreIdentity;

use super::identity::{Identity, store, sync_dir};
use super::{StorageError, lost};

/// What a store consists of, the mark last: with it gone, the move is complete.
const PARTS: [&str; 4] = ["db", "snapshots", "floor", lost::FILE];

impl Identity {
    /// The id of the store that is to take this one's place; drawn when first asked for, durable on
    /// return.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn successor(&mut self) -> Result<String, StorageError> {
        if self.record().successor_store_id.is_empty() {
            let successor_store_id = uuid::Uuid::new_v4().to_string();
            self.replace(StoreIdentity { successor_store_id, ..self.record().clone() })?;
        }
        Ok(self.record().successor_store_id.clone())
    }

    /// Gives the directory up for the successor, which finds the cluster at `peers`. The directory may
    /// be in use until it is opened again; that completes the step.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn make_way(&mut self, peers: Vec<String>) -> Result<(), StorageError> {
        self.successor()?;
        self.replace(StoreIdentity { peers, ..self.record().clone() })?;
        let folder = folder(self.dir(), self.record());
        std::fs::create_dir_all(&folder).map_err(StorageError::io(&folder))?;
        sync_dir(self.dir())
    }
}

/// Where a store is kept that was replaced.
fn folder(dir: &Path, record: &StoreIdentity) -> PathBuf {
    dir.join(format!("lost-{}", record.store_id))
}

/// Completes what [`Identity::make_way`] began, if it did: returns the successor's identity then.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn complete(
    dir: &Path,
    record: &StoreIdentity,
) -> Result<Option<StoreIdentity>, StorageError> {
    let folder = folder(dir, record);
    if record.successor_store_id.is_empty() || !folder.is_dir() {
        return Ok(None);
    }
    for part in PARTS {
        let (from, to) = (dir.join(part), folder.join(part));
        match std::fs::rename(&from, &to) {
            // Moved before a crash.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved.map_err(StorageError::io(&from))?,
        }
        sync_dir(&folder)?;
        sync_dir(dir)?;
    }
    store(&folder, record)?;
    let successor = StoreIdentity {
        store_id: record.successor_store_id.clone(),
        successor_store_id: String::new(),
        // The cluster knows the successor by the start that asked for it.
        start_ids: record.start_ids.last().cloned().into_iter().collect(),
        cluster_id: String::new(),
        ..record.clone()
    };
    store(dir, &successor)?;
    tracing::warn!(
        old = record.store_id, new = successor.store_id, kept = %folder.display(),
        "the data directory begins anew; what it held is kept"
    );
    Ok(Some(successor))
}

#[cfg(test)]
mod tests {
    use coupon_cluster::NodeId;

    use super::*;

    #[test]
    fn a_store_makes_way_whatever_crash_comes_between() {
        for crash_after in 0..=PARTS.len() {
            let dir = tempfile::tempdir().unwrap();
            let node = NodeId::new(3).unwrap();
            let mut old = Identity::open(dir.path(), node).unwrap();
            old.join("c").unwrap();
            for part in PARTS {
                std::fs::write(dir.path().join(part), part).unwrap();
            }
            let successor = old.successor().unwrap();
            assert_eq!(old.successor().unwrap(), successor);
            old.make_way(vec!["peer:1".to_owned()]).unwrap();
            let kept = dir.path().join(format!("lost-{}", old.store_id()));
            for part in &PARTS[..crash_after] {
                std::fs::rename(dir.path().join(part), kept.join(part)).unwrap();
            }

            let new = Identity::open(dir.path(), node).unwrap();
            assert_eq!(new.store_id(), successor);
            assert_eq!((new.cluster_id(), new.peers()), (None, &["peer:1".to_owned()][..]));
            assert!(new.known_starts().contains(&old.start_id().to_owned()));
            for part in PARTS {
                assert!(!dir.path().join(part).exists(), "{part} is still there");
                assert_eq!(std::fs::read(kept.join(part)).unwrap(), part.as_bytes());
            }
            let again = Identity::open(dir.path(), node).unwrap();
            assert_eq!(again.store_id(), successor);
        }
    }
}
