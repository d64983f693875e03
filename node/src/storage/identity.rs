//! Whose data directory this is.
//!
//! A Raft replica that forgot what it voted for, or that answers under another's name, can break
//! every promise. So a directory is stamped with a random store id when it is made, with the node's
//! id, and with the cluster's id as soon as it joins one. A mismatch refuses to start.
//!
//! Each time the directory is opened it draws a start id, which the cluster registers. A copy of the
//! directory, or an older state of it, does not remember the last start that was registered.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use coupon_cluster::NodeId;
use coupon_env::entropy;
use coupon_proto::internal::StoreIdentity;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::{Storage, StorageError, keys, lost, renewal};

/// The version of the directory's layout that this program reads and writes.
const VERSION: u32 = 15;
/// Maximum number of starts remembered, the latest ones, besides the last one known to be registered. More pile
/// up unregistered only while no peer can be reached.
const STARTS_MAX: usize = 1_024;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The directory belongs to another node.
    #[error("the data directory {} belongs to node {found}, not to node {wanted}", dir.display())]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who wants it.
        wanted: u64,
    },
    /// The directory belongs to another cluster.
    #[error("the data directory {} belongs to cluster {found}, not to cluster {wanted}", dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// Who wants it.
        wanted: String,
    },
    /// The directory's database is not the one that the directory was made with.
    #[error(
        "the database in the data directory {} is {found}: what this node voted for and acknowledged \
         is not in it. Bring the right one back, or replace the node by starting it with an empty \
         directory", dir.display()
    )]
    OtherDatabase {
        /// The directory.
        dir: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// The directory was written by a newer program, or by one from before the first release.
    #[error(
        "the data directory {} has layout version {found}, and this program knows only {VERSION}: run the \
         program that wrote it, or start with an empty directory", dir.display()
    )]
    OtherVersion {
        /// The directory.
        dir: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// The identity file of a directory, read without starting a node on it.
#[derive(Clone, Debug)]
pub struct Stamp(StoreIdentity);

impl Stamp {
    /// Reads the identity file in `dir`.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it is damaged or of another layout.
    pub fn read(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join("identity");
        let record = unseal(&std::fs::read(&path).map_err(StorageError::io(&path))?)?;
        if record.version != VERSION {
            let dir = dir.to_owned();
            return Err(IdentityError::OtherVersion { dir, found: record.version });
        }
        Ok(Self(record))
    }

    /// Whether the store belongs to a cluster.
    pub fn is_member(&self) -> bool {
        !self.0.cluster_id.is_empty()
    }

    /// The store's id.
    pub fn store_id(&self) -> &str {
        &self.0.store_id
    }

    /// The node.
    ///
    /// # Errors
    ///
    /// When the file names no node.
    pub fn node(&self) -> Result<NodeId, StorageError> {
        NodeId::new(self.0.node_id).map_err(|error| StorageError::corrupt("identity file", error))
    }

    /// The folder of the store that this one, which is still empty, replaces; `None` if it replaces none.
    pub fn folder_of_replaced(&self, dir: &Path) -> Option<PathBuf> {
        let waits = !self.is_member() && !self.0.replaces_store_id.is_empty();
        waits.then(|| renewal::folder(dir, &self.0.replaces_store_id))
    }

    /// All that is kept.
    pub(super) fn record(&self) -> &StoreIdentity {
        &self.0
    }
}

/// The identity file of a data directory.
#[derive(Clone, Debug)]
pub struct Identity {
    dir: PathBuf,
    record: StoreIdentity,
}

impl Identity {
    /// Reads the identity of `dir`, or stamps a new directory, and adds a start; durable on return.
    ///
    /// # Errors
    ///
    /// When the directory belongs to another node or cannot be used.
    pub fn open(dir: &Path, node: NodeId) -> Result<Self, IdentityError> {
        // Coupon codes can be guessed by whoever reads the key that is kept here.
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(dir).map_err(StorageError::io(dir))?;
        let path = dir.join("identity");
        let record = match std::fs::read(&path) {
            Ok(bytes) => unseal(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => StoreIdentity {
                version: VERSION,
                store_id: entropy::uuid(),
                node_id: node.get(),
                ..StoreIdentity::default()
            },
            Err(error) => return Err(StorageError::io(&path)(error).into()),
        };
        if record.version != VERSION {
            let dir = dir.to_owned();
            return Err(IdentityError::OtherVersion { dir, found: record.version });
        }
        if record.node_id != node.get() {
            let (dir, found, wanted) = (dir.to_owned(), record.node_id, node.get());
            return Err(IdentityError::OtherNode { dir, found, wanted });
        }
        let is_new = !path.try_exists().map_err(StorageError::io(&path))?;
        let mut record = renewal::renew(dir, record)?;
        if record.start_ids.len() >= STARTS_MAX {
            record.start_ids.remove(0);
        }
        record.start_ids.push(entropy::uuid());
        if is_new {
            store(dir, &record)?;
        }
        Ok(Self { dir: dir.to_owned(), record })
    }

    /// Notes the current start, so that the next one remembers it; durable on return. It must come before
    /// anybody is told of the start, and after everything that a start can fail at: a crash loop must not make
    /// the directory forget its registered start.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn begin(&self) -> Result<(), StorageError> {
        store(&self.dir, &self.record)
    }

    /// The current start, a UUID.
    pub fn start_id(&self) -> &str {
        self.record.start_ids.last().map_or("", String::as_str)
    }

    /// Earlier starts, the last one known to be registered among them.
    pub fn known_starts(&self) -> Vec<String> {
        let registered = Some(&self.record.registered_start_id).filter(|id| !id.is_empty());
        let mut known: Vec<String> =
            registered.into_iter().chain(&self.record.start_ids).cloned().collect();
        known.retain(|id| id != self.start_id());
        known
    }

    /// Whether a start is one of this directory.
    pub fn remembers(&self, start_id: &str) -> bool {
        start_id == self.record.registered_start_id
            || self.record.start_ids.iter().any(|known| known == start_id)
    }

    /// Whether a start is noted as registered, and these are the last known addresses of the cluster's nodes.
    pub fn has_noted(&self, start_id: &str, peers: &[String]) -> bool {
        self.record.registered_start_id == start_id && self.record.peers == peers
    }

    /// Notes that a start is registered, so that it is remembered however many follow, and the addresses of the nodes
    /// of the cluster; durable on return.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn note(&mut self, start_id: &str, peers: &[String]) -> Result<(), StorageError> {
        if self.has_noted(start_id, peers) {
            return Ok(());
        }
        let (registered_start_id, peers) = (start_id.to_owned(), peers.to_vec());
        self.replace(StoreIdentity { registered_start_id, peers, ..self.record.clone() })
    }

    /// The store that this one replaces, and its cluster; `None` if it replaces none.
    pub fn replaces(&self) -> Option<(&str, &str)> {
        let StoreIdentity { replaces_store_id, replaces_cluster_id, .. } = &self.record;
        (!replaces_store_id.is_empty()).then_some((replaces_store_id, replaces_cluster_id))
    }

    /// Why the store that this one replaces is lost, as far as is known.
    pub fn why_replaced(&self) -> Option<String> {
        let folder = renewal::folder(&self.dir, self.replaces()?.0);
        lost::read(&folder).ok().flatten()
    }

    /// The last known addresses of nodes of the cluster.
    pub fn peers(&self) -> &[String] {
        &self.record.peers
    }

    /// All that is kept.
    #[cfg(test)]
    pub(super) fn record(&self) -> &StoreIdentity {
        &self.record
    }

    /// Replaces the whole record; durable on return.
    fn replace(&mut self, record: StoreIdentity) -> Result<(), StorageError> {
        store(&self.dir, &record)?;
        self.record = record;
        Ok(())
    }

    /// Stamps a new database with the store id, durable on return, and refuses one that is not this
    /// store's: a node that lost its database alone would rejoin as if it had forgotten nothing.
    ///
    /// # Errors
    ///
    /// When the database is new although the directory belongs to a cluster, is another store's, or
    /// cannot be used.
    pub fn check_database(&self, storage: &Storage) -> Result<(), IdentityError> {
        let stamp = storage.db().get_cf(storage.meta(), keys::STORE_ID);
        let found = match stamp.map_err(StorageError::from)? {
            Some(stamp) if stamp == self.store_id().as_bytes() => return Ok(()),
            Some(_) => "another store's",
            None if self.cluster_id().is_some() => "new",
            None => {
                let mut batch = WriteBatch::default();
                batch.put_cf(storage.meta(), keys::STORE_ID, self.store_id());
                return Ok(storage.write_synced(batch)?);
            }
        };
        Err(IdentityError::OtherDatabase { dir: self.dir.clone(), found })
    }

    /// The id made with the directory, a UUID.
    pub fn store_id(&self) -> &str {
        &self.record.store_id
    }

    /// The cluster the directory belongs to; `None` before it joined one.
    pub fn cluster_id(&self) -> Option<&str> {
        Some(self.record.cluster_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Checks that the directory may join a cluster: that it belongs to it, or to none yet.
    ///
    /// # Errors
    ///
    /// When it belongs to another one.
    pub fn check_cluster(&self, cluster_id: &str) -> Result<(), IdentityError> {
        match self.cluster_id() {
            Some(found) if found != cluster_id => Err(IdentityError::OtherCluster {
                dir: self.dir.clone(),
                found: found.to_owned(),
                wanted: cluster_id.to_owned(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Stamps the directory with its cluster; durable on return.
    ///
    /// # Errors
    ///
    /// When it belongs to another cluster already, or cannot be written.
    pub fn join(&mut self, cluster_id: &str) -> Result<(), IdentityError> {
        self.check_cluster(cluster_id)?;
        if self.cluster_id().is_some() {
            return Ok(());
        }
        let cluster_id = cluster_id.to_owned();
        Ok(self.replace(StoreIdentity { cluster_id, ..self.record.clone() })?)
    }
}

/// Writes the identity so that a crash at any step leaves the old file or the new one.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn store(dir: &Path, record: &StoreIdentity) -> Result<(), StorageError> {
    let temporary = dir.join("identity.tmp");
    let mut file = File::create(&temporary).map_err(StorageError::io(&temporary))?;
    file.write_all(&seal(record)).map_err(StorageError::io(&temporary))?;
    file.sync_all().map_err(StorageError::io(&temporary))?;
    let path = dir.join("identity");
    std::fs::rename(&temporary, &path).map_err(StorageError::io(&path))?;
    sync_dir(dir)
}

/// Makes the names in `dir` durable.
///
/// # Errors
///
/// When the file system fails.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(StorageError::io(dir))
}

fn seal(record: &StoreIdentity) -> Vec<u8> {
    let mut bytes = record.encode_to_vec();
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

fn unseal(bytes: &[u8]) -> Result<StoreIdentity, StorageError> {
    let corrupt = |why: &str| StorageError::corrupt("identity file", why);
    let (record, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt("too short"))?;
    if crc32fast::hash(record) != u32::from_be_bytes(*sum) {
        return Err(corrupt("checksum does not match"));
    }
    StoreIdentity::decode(record).map_err(|error| corrupt(&error.to_string()))
}

#[cfg(test)]
mod tests;
