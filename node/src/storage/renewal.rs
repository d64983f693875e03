//! Replaces a store that has lost acknowledged writes by a fresh one.
//!
//! The lost store must never vote again, but it may hold what no other replica does. So nothing of it is
//! deleted: it is moved into a folder inside the data directory, named `lost-` and its store id, and the
//! directory becomes that of its successor. The successor asks the cluster to let it replace the lost store,
//! and runs no replica until then.
//!
//! The folder is made first. If it exists beside the old identity, the next process that opens the directory
//! completes the move: every step may be repeated.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use coupon_env::entropy;
use coupon_proto::internal::StoreIdentity;

use super::identity::{IdentityError, Stamp, store, sync_dir};
use super::{StorageError, lost};

/// The parts of a store besides its identity; the mark comes last.
const PARTS: [&str; 5] = ["db", "index", "snapshots", "floor", lost::FILE];

/// The folder of a store that was moved aside.
pub(crate) fn folder(dir: &Path, store_id: &str) -> PathBuf {
    dir.join(format!("lost-{store_id}"))
}

/// Moves a store back whose history was chosen after all. Its successor has never been in a cluster; its
/// parts are moved aside. May be repeated.
///
/// # Errors
///
/// When the file system fails.
pub(crate) fn reinstate(dir: &Path, store_id: &str) -> Result<(), StorageError> {
    let folder = folder(dir, store_id);
    let fault = |error: IdentityError| StorageError::corrupt("identity file", error);
    let current = Stamp::read(dir).map_err(fault)?;
    let old = match current.store_id() == store_id {
        true => current,
        false => Stamp::read(&folder).map_err(fault)?,
    };
    // Stored first: with this identity and no database, no node starts.
    let old = StoreIdentity { successor_store_id: String::new(), ..old.record().clone() };
    store(dir, &old)?;
    let aside = folder.join(format!("unused-{}", entropy::uuid()));
    std::fs::create_dir_all(&aside).map_err(StorageError::io(&aside))?;
    for part in PARTS.into_iter().filter(|part| folder.join(part).exists()) {
        let (from, to) = (folder.join(part), dir.join(part));
        if to.exists() {
            let aside = aside.join(part);
            std::fs::rename(&to, &aside).map_err(StorageError::io(&aside))?;
        }
        std::fs::rename(&from, &to).map_err(StorageError::io(&from))?;
    }
    sync_dir(&folder)?;
    sync_dir(dir)
}

/// Whether the store in `dir` was about to be moved aside: it would be when its node starts.
///
/// # Errors
///
/// When the identity cannot be read.
pub(crate) fn has_begun(dir: &Path) -> Result<bool, StorageError> {
    let fault = |error: IdentityError| StorageError::corrupt("identity file", error);
    let stamp = Stamp::read(dir).map_err(fault)?;
    Ok(!stamp.record().successor_store_id.is_empty())
}

/// Whether moving the store in `dir` aside, or back, was interrupted.
pub(crate) fn is_on_the_way(dir: &Path, stamp: &Stamp) -> bool {
    stamp.is_member() && folder(dir, stamp.store_id()).join(PARTS[0]).exists()
}

/// Moves a store that is marked as lost aside, or completes that. Returns the identity of the
/// directory, which is the successor's if there is one.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn renew(dir: &Path, mut old: StoreIdentity) -> Result<StoreIdentity, StorageError> {
    let folder = folder(dir, &old.store_id);
    if lost::read(dir)?.is_some() {
        if old.successor_store_id.is_empty() {
            old.successor_store_id = entropy::uuid();
            store(dir, &old)?;
        }
        std::fs::create_dir_all(&folder).map_err(StorageError::io(&folder))?;
        sync_dir(dir)?;
    }
    if old.successor_store_id.is_empty() || !folder.is_dir() {
        return Ok(old);
    }
    store(&folder, &old)?;
    for part in PARTS {
        let (from, to) = (dir.join(part), folder.join(part));
        match std::fs::rename(&from, &to) {
            // Moved before a crash, or never there.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved.map_err(StorageError::io(&from))?,
        }
    }
    sync_dir(&folder)?;
    sync_dir(dir)?;
    // A store that was in no cluster needs no replacement.
    let was_member = !old.cluster_id.is_empty();
    let replaced = |id: &String| if was_member { id.clone() } else { String::new() };
    let successor = StoreIdentity {
        version: old.version,
        store_id: old.successor_store_id.clone(),
        node_id: old.node_id,
        peers: old.peers.clone(),
        replaces_store_id: replaced(&old.store_id),
        replaces_cluster_id: replaced(&old.cluster_id),
        ..StoreIdentity::default()
    };
    store(dir, &successor)?;
    tracing::warn!(
        old = old.store_id, new = successor.store_id, kept = %folder.display(),
        "the store has lost acknowledged writes: it is kept aside, and a fresh one replaces it"
    );
    Ok(successor)
}

#[cfg(test)]
mod tests {
    use coupon_cluster::NodeId;

    use super::super::identity::Identity;
    use super::*;

    #[test]
    fn a_store_makes_way_whatever_crash_comes_between() {
        for crash_after in 0..=PARTS.len() {
            let dir = tempfile::tempdir().unwrap();
            let node = NodeId::new(3).unwrap();
            let mut old = Identity::open(dir.path(), node).unwrap();
            old.join("c").unwrap();
            old.note("", &["peer:1".to_owned()]).unwrap();
            for part in PARTS {
                std::fs::write(dir.path().join(part), part).unwrap();
            }
            // A crash after some of the parts were moved.
            let successor = "the-successor".to_owned();
            let record = StoreIdentity { successor_store_id: successor, ..old.record().clone() };
            store(dir.path(), &record).unwrap();
            let kept = folder(dir.path(), old.store_id());
            std::fs::create_dir(&kept).unwrap();
            for part in &PARTS[..crash_after] {
                std::fs::rename(dir.path().join(part), kept.join(part)).unwrap();
            }

            let new = Identity::open(dir.path(), node).unwrap();
            assert_eq!((new.store_id(), new.cluster_id()), ("the-successor", None));
            assert_eq!(new.replaces(), Some((old.store_id(), "c")));
            assert_eq!(new.peers(), ["peer:1"]);
            for part in PARTS {
                assert!(!dir.path().join(part).exists(), "{part} is still there");
                assert_eq!(std::fs::read(kept.join(part)).unwrap(), part.as_bytes());
            }
            let again = Identity::open(dir.path(), node).unwrap();
            assert_eq!(again.store_id(), "the-successor");
        }
    }

    #[test]
    fn a_store_is_reinstated_whatever_crash_came_before() {
        for crash_after in 0..=PARTS.len() {
            let dir = tempfile::tempdir().unwrap();
            let node = NodeId::new(3).unwrap();
            let mut old = Identity::open(dir.path(), node).unwrap();
            old.join("c").unwrap();
            let old_id = old.store_id().to_owned();
            for part in PARTS {
                std::fs::write(dir.path().join(part), part).unwrap();
            }
            let successor_store_id = "the-successor".to_owned();
            let record = StoreIdentity { successor_store_id, ..old.record().clone() };
            drop(old);
            store(dir.path(), &record).unwrap();
            let kept = folder(dir.path(), &old_id);
            std::fs::create_dir(&kept).unwrap();
            for part in &PARTS[..crash_after] {
                std::fs::rename(dir.path().join(part), kept.join(part)).unwrap();
            }
            assert!(has_begun(dir.path()).unwrap());
            // As the choice of its history leaves it.
            for place in [dir.path(), kept.as_path()] {
                lost::clear(place).unwrap();
            }
            reinstate(dir.path(), &old_id).unwrap();
            assert!(!has_begun(dir.path()).unwrap());
            assert_eq!(Identity::open(dir.path(), node).unwrap().store_id(), old_id);
            for part in PARTS.into_iter().filter(|part| *part != lost::FILE) {
                assert_eq!(std::fs::read(dir.path().join(part)).unwrap(), part.as_bytes());
            }
        }
    }

    #[test]
    fn a_store_without_a_mark_stays() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeId::new(3).unwrap();
        let first = Identity::open(dir.path(), node).unwrap();
        assert_eq!(Identity::open(dir.path(), node).unwrap().store_id(), first.store_id());
        lost::mark(dir.path(), "it forgot").unwrap();
        let fresh = Identity::open(dir.path(), node).unwrap();
        assert_ne!(fresh.store_id(), first.store_id());
        assert_eq!(fresh.replaces(), None, "it was in no cluster");
    }
}
