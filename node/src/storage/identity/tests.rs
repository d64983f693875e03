//! Whose directory it is, through starts, another node, another cluster and another database; and the bytes of the file.

use super::super::golden;
use super::*;

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

#[test]
fn a_directory_keeps_its_identity() {
    let dir = tempfile::tempdir().unwrap();
    let first = Identity::open(dir.path(), node(3)).unwrap();
    let again = Identity::open(dir.path(), node(3)).unwrap();
    assert_eq!(first.store_id(), again.store_id());
    assert_eq!(again.cluster_id(), None);
}

#[test]
fn a_directory_remembers_its_starts() {
    let dir = tempfile::tempdir().unwrap();
    let begun = || {
        let identity = Identity::open(dir.path(), node(3)).unwrap();
        identity.begin().unwrap();
        identity
    };
    let first = begun().start_id().to_owned();
    let failed = Identity::open(dir.path(), node(3)).unwrap().start_id().to_owned();
    let mut second = Identity::open(dir.path(), node(3)).unwrap();
    assert!(second.start_id() != first && !second.remembers(&failed));
    assert_eq!(second.known_starts(), std::slice::from_ref(&first));
    let registered = second.start_id().to_owned();
    second.note(&registered, &[]).unwrap();
    assert!(second.remembers(&first), "the cluster may have been set back");
    for _ in 0..STARTS_MAX + 9 {
        let later = begun();
        assert!(later.remembers(&registered), "it is the last one that is registered");
        assert!(later.known_starts().len() <= STARTS_MAX);
    }
}

#[test]
fn another_layout_is_refused_in_one_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Identity::open(dir.path(), node(3)).unwrap();
    old.replace(StoreIdentity { version: 2, ..old.record().clone() }).unwrap();
    let error = Identity::open(dir.path(), node(3)).unwrap_err().to_string();
    assert!(error.contains("layout version 2") && error.contains("an empty directory"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Identity::open(dir.path(), node(3)).unwrap();
    let error = Identity::open(dir.path(), node(4)).unwrap_err();
    assert!(error.to_string().contains("belongs to node 3, not to node 4"), "{error}");
}

#[test]
fn another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Identity::open(dir.path(), node(3)).unwrap().join("one").unwrap();
    let mut reopened = Identity::open(dir.path(), node(3)).unwrap();
    reopened.join("one").unwrap();
    let error = reopened.join("two").unwrap_err();
    assert!(error.to_string().contains("belongs to cluster one, not to cluster two"));
}

#[test]
fn a_database_that_was_lost_or_exchanged_is_noticed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |dir: &Path, cluster: Option<&str>| {
        let mut identity = Identity::open(dir, node(3))?;
        let storage = Storage::open(dir)?;
        identity.check_database(&storage)?;
        if let Some(cluster) = cluster {
            identity.join(cluster)?;
        }
        storage.close()?;
        Ok::<_, IdentityError>(())
    };
    // Without the floor of the database: see `floor`.
    let lose = |dir: &Path| {
        std::fs::remove_dir_all(dir.join("db")).unwrap();
        std::fs::remove_file(dir.join("floor")).unwrap();
    };
    open(one.path(), None).unwrap();
    // Lost before it held anything.
    lose(one.path());
    open(one.path(), Some("c")).unwrap();
    open(one.path(), Some("c")).unwrap();
    open(two.path(), Some("c")).unwrap();

    lose(one.path());
    let lost = open(one.path(), None).unwrap_err().to_string();
    assert!(lost.contains("is new"), "{lost}");
    std::fs::remove_dir_all(one.path().join("db")).unwrap();
    std::fs::rename(two.path().join("db"), one.path().join("db")).unwrap();
    let other = open(one.path(), None).unwrap_err().to_string();
    assert!(other.contains("another store's"), "{other}");
}

/// A whole file.
const GOLDEN: &str = "
    08 0f                                  | version 15
    12 05 73 74 6f 72 65                   | store_id store
    18 03                                  | node_id 3
    22 07 63 6c 75 73 74 65 72             | cluster_id cluster
    2a 07 73 74 61 72 74 2d 31             | start_ids start-1
    2a 07 73 74 61 72 74 2d 32             | start_ids start-2
    32 04 6e 65 78 74                      | successor_store_id next
    3a 07 6e 31 3a 37 30 30 31             | peers n1:7001
    42 03 6f 6c 64                         | replaces_store_id old
    4a 0b 6f 6c 64 2d 63 6c 75 73 74 65 72 | replaces_cluster_id old-cluster
    52 07 73 74 61 72 74 2d 30             | registered_start_id start-0
    a8 12 6d 31                            | CRC-32 of all that
";

#[test]
fn the_file_is_written_and_read_as_ever() {
    let record = StoreIdentity {
        version: 15,
        store_id: "store".into(),
        node_id: 3,
        cluster_id: "cluster".into(),
        start_ids: vec!["start-1".into(), "start-2".into()],
        registered_start_id: "start-0".into(),
        successor_store_id: "next".into(),
        peers: vec!["n1:7001".into()],
        replaces_store_id: "old".into(),
        replaces_cluster_id: "old-cluster".into(),
    };
    golden::check("the identity file", "`VERSION` in identity.rs", &seal(&record), GOLDEN);
    assert_eq!(unseal(&golden::bytes(GOLDEN)).unwrap(), record);
}

#[test]
fn a_flipped_bit_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    Identity::open(dir.path(), node(3)).unwrap();
    let path = dir.path().join("identity");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Identity::open(dir.path(), node(3)).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}
