//! What is left on disk when a process ends at any moment.
//!
//! RocksDB's log is kept in the process until the flusher writes and syncs it, so a copy of the
//! directory holds what a power cut at that moment would leave, and a cut copy what a torn write
//! would.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use coupon_cluster::{ReplicaId, ShardId, TenantId};
use coupon_node::raft::history;
use coupon_node::raft::log_store::LogStore;
use coupon_node::raft::state_machine::{StateMachine, received_snapshot};
use coupon_node::raft::terms::Terms;
use coupon_node::raft::types::{Entry, LogId, Proposal, Vote};
use coupon_node::storage::keys::LogKeys;
use coupon_node::storage::snapshot::{self, ReplicaKey, SnapshotFile};
use coupon_node::storage::view::LedgerView;
use coupon_node::storage::{Storage, StorageError, lost};
use coupon_proto::internal as pb;
use futures::stream;
use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::storage::{
    IOFlushed, RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _,
    RaftSnapshotBuilder as _, RaftStateMachine as _,
};
use prost::Message as _;

fn replica_key() -> ReplicaKey {
    ReplicaKey { shard: ShardId::new(1).unwrap(), replica: ReplicaId(7) }
}

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 7 }, index)
}

fn entry(index: u64, payload: Vec<u8>) -> Entry {
    Entry::new(log_id(index), EntryPayload::Normal(Proposal(Bytes::from(payload))))
}

fn open_log(storage: &Storage) -> LogStore {
    LogStore::open(storage.clone(), replica_key().shard, replica_key().replica).unwrap()
}

/// A copy of a data directory as it is on disk now.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

/// The file of the write-ahead log: the newest one.
fn wal(dir: &Path) -> PathBuf {
    let logs = std::fs::read_dir(dir.join("db")).unwrap().map(|item| item.unwrap().path());
    logs.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap()
}

#[tokio::test]
async fn what_was_reported_durable_is_there_after_a_cut() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let storage = Storage::open(&live).unwrap();
    let mut log = open_log(&storage);
    let vote = Vote::new_committed(1, 7);
    log.save_vote(&vote).await.unwrap();
    for round in 0..20 {
        let entries = (0..5).map(|i| entry(round * 5 + i, vec![round as u8; 300]));
        log.blocking_append(entries).await.unwrap();
        // Written, but nobody was told that it is durable.
        let unsynced = live.parent().unwrap().join(format!("cut-{round}"));
        copy(&live, &unsynced);
        let cut = Storage::open(&unsynced).unwrap();
        let mut log = open_log(&cut);
        assert_eq!(log.read_vote().await.unwrap(), Some(vote));
        let found = log.try_get_log_entries(0..1_000).await.unwrap();
        let indexes: Vec<u64> = found.iter().map(|entry| entry.index()).collect();
        assert_eq!(indexes, (0..(round + 1) * 5).collect::<Vec<_>>());
        assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(round * 5 + 4)));
    }
}

#[tokio::test]
async fn what_nobody_was_told_of_may_be_lost_but_only_as_a_tail() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let storage = Storage::open(&live).unwrap();
    let mut log = open_log(&storage);
    log.blocking_append((0..10).map(|i| entry(i, vec![1; 100]))).await.unwrap();
    let durable_bytes = std::fs::metadata(wal(&live)).unwrap().len();
    let floor = std::fs::read(live.join("floor")).unwrap();
    log.append((10..20).map(|i| entry(i, vec![2; 100])), IOFlushed::noop()).await.unwrap();
    log.append((20..30).map(|i| entry(i, vec![3; 100])), IOFlushed::noop()).await.unwrap();
    storage.flusher().durable().await;
    let whole = std::fs::metadata(wal(&live)).unwrap().len();
    assert!(whole > durable_bytes);
    // The last write is torn at every place that a cut could leave.
    let step = usize::try_from((whole - durable_bytes) / 60).unwrap().max(1);
    for length in (durable_bytes..=whole).step_by(step) {
        let torn = dir.path().join(format!("torn-{length}"));
        copy(&live, &torn);
        let file = std::fs::OpenOptions::new().write(true).open(wal(&torn)).unwrap();
        file.set_len(length).unwrap();
        // A sync that has not returned has not raised the floor.
        std::fs::write(torn.join("floor"), &floor).unwrap();
        let cut = Storage::open(&torn).unwrap();
        let mut log = open_log(&cut);
        let found = log.try_get_log_entries(0..1_000).await.unwrap();
        let indexes: Vec<u64> = found.iter().map(|entry| entry.index()).collect();
        assert_eq!(indexes, (0..indexes.len() as u64).collect::<Vec<_>>(), "a hole");
        assert!([10, 20, 30].contains(&indexes.len()), "half a write: {}", indexes.len());
    }
}

/// A store that has synced some entries, and a copy of it.
async fn store_and_copy(dir: &Path) -> PathBuf {
    let (live, copied) = (dir.join("live"), dir.join("copied"));
    let storage = Storage::open(&live).unwrap();
    let mut log = open_log(&storage);
    for index in 0..20 {
        log.blocking_append([entry(index, vec![9; 500])]).await.unwrap();
    }
    copy(&live, &copied);
    copied
}

/// It is lost, and stays so.
fn assert_lost(dir: &Path, said: &str) {
    for _ in 0..2 {
        let error = Storage::open(dir).map(|_| ()).unwrap_err();
        assert!(matches!(error, StorageError::Lost { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(lost::read(dir).unwrap().unwrap().contains(said));
}

#[tokio::test]
async fn a_store_that_lacks_what_was_synced_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let copied = store_and_copy(dir.path()).await;
    let log = wal(&copied);
    let length = std::fs::metadata(&log).unwrap().len();
    let cut = dir.path().join("cut");
    for missing in [1, 600, length / 2, length] {
        copy(&copied, &cut);
        let file = std::fs::OpenOptions::new().write(true).open(wal(&cut)).unwrap();
        file.set_len(length - missing).unwrap();
        assert_lost(&cut, "were on disk");
        std::fs::remove_dir_all(&cut).unwrap();
    }
    // Without the whole log, and without the whole database.
    copy(&copied, &cut);
    std::fs::remove_file(wal(&cut)).unwrap();
    assert_lost(&cut, "were on disk");
    std::fs::remove_dir_all(&cut).unwrap();
    copy(&copied, &cut);
    std::fs::remove_dir_all(cut.join("db")).unwrap();
    assert_lost(&cut, "were on disk");
    // The copy itself is whole.
    Storage::open(&copied).unwrap().close().unwrap();
    Storage::open(&copied).unwrap();
}

#[tokio::test]
async fn a_store_without_its_floor_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let copied = store_and_copy(dir.path()).await;
    let missing = dir.path().join("missing");
    copy(&copied, &missing);
    std::fs::remove_file(missing.join("floor")).unwrap();
    assert_lost(&missing, "is missing");
    std::fs::write(copied.join("floor"), [1; 528]).unwrap();
    assert_lost(&copied, "is damaged");
}

/// The floor counts what a snapshot brings, and no more than is there after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_whole_after_a_snapshot_was_installed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(&dir.path().join("leader")).unwrap();
    let mut machine = StateMachine::open_ledger(storage.clone(), replica_key()).unwrap();
    apply(&mut machine, 0..100).await;
    let live = dir.path().join("live");
    let follower = Storage::open(&live).unwrap();
    let mut other = StateMachine::open_ledger(follower.clone(), replica_key()).unwrap();
    apply(&mut other, 0..50).await;
    for round in 0..3 {
        let file = send(&storage, &follower);
        // A view of the state makes RocksDB give the table a sequence number of its own.
        let _view = LedgerView::new(&follower, replica_key().shard, replica_key().replica).unwrap();
        snapshot::install(&follower, replica_key(), &file).unwrap();
        follower.sync().unwrap();
        let cut = dir.path().join(format!("cut-{round}"));
        copy(&live, &cut);
        Storage::open(&cut).unwrap();
    }
}

#[tokio::test]
async fn committed_entries_of_another_history_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let mut log = open_log(&storage);
    log.save_vote(&Vote::new_committed(1, 7)).await.unwrap();
    let header = |committed| {
        let acknowledged = vec![pb::AcknowledgedIndex { replica_id: 8, index: committed }];
        let entry = pb::CommandEntry {
            log_time_micros: 1,
            committed_index: committed,
            acknowledged,
            ..Default::default()
        };
        entry.encode_to_vec()
    };
    log.blocking_append((0..=20).map(|i| entry(i, header(i.saturating_sub(5))))).await.unwrap();
    log.purge(log_id(3)).await.unwrap();
    // What is in memory, and what was read again.
    for log in [log, open_log(&storage)] {
        assert_eq!(log.acknowledged().committed(), 15);
        assert_eq!((log.acknowledged().of(8), log.acknowledged().of(7)), (15, 0));
        let (vote, deposed) = (Vote::new_committed(2, 9), Vote::new_committed(1, 6));
        let other = |index| LogId::new(LeaderId { term: 2, node_id: 9 }, index);
        let found = |vote: &Vote, sent: &[LogId]| {
            history::conflict(&log, vote, sent.iter().copied()).unwrap().map(|found| found.theirs)
        };
        assert_eq!(found(&vote, &[log_id(3), log_id(10), log_id(15), log_id(20)]), None);
        assert_eq!(found(&vote, &[log_id(15), other(16), other(17)]), None, "not committed");
        assert_eq!(found(&vote, &[log_id(9), other(10), other(11)]), Some(other(10)));
        assert_eq!(found(&vote, &[other(3)]), Some(other(3)), "where the log was purged to");
        assert_eq!(found(&vote, &[other(2)]), None, "not known any more");
        assert_eq!(found(&vote, &[other(0)]), None, "each initial replica's own");
        assert_eq!(found(&deposed, &[other(10)]), None, "it is deposed");
        let written = |firsts: &[LogId]| {
            let mut terms = Terms::default();
            firsts.iter().for_each(|first| assert!(terms.note(first)));
            terms
        };
        let snapshot = |last, firsts: &[LogId]| {
            history::snapshot_conflict(&log, &vote, last, &written(firsts)).unwrap().is_some()
        };
        assert!(
            snapshot(other(12), &[]) && !snapshot(log_id(12), &[]) && !snapshot(other(30), &[])
        );
        let earlier = LogId::new(LeaderId { term: 0, node_id: 9 }, 30);
        assert!(snapshot(earlier, &[]), "an earlier term cannot end later");
        assert!(!snapshot(other(30), &[log_id(1), other(16)]), "it goes on where this log is");
        assert!(snapshot(other(30), &[log_id(1), other(15)]), "another leader wrote entry 15");
    }
}

#[tokio::test]
async fn a_flipped_bit_in_what_was_synced_is_no_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let storage = Storage::open(&live).unwrap();
    let mut log = open_log(&storage);
    for index in 0..20 {
        log.blocking_append([entry(index, vec![9; 5_000])]).await.unwrap();
    }
    let damaged = dir.path().join("damaged");
    copy(&live, &damaged);
    let path = wal(&damaged);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
    let error = Storage::open(&damaged).map(|_| ()).unwrap_err();
    assert!(error.to_string().to_lowercase().contains("corruption"), "{error}");
}

#[tokio::test]
async fn truncation_and_purge_last() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let storage = Storage::open(&live).unwrap();
    let mut log = open_log(&storage);
    log.blocking_append((0..100).map(|i| entry(i, vec![1; 50]))).await.unwrap();
    log.truncate_after(Some(log_id(79))).await.unwrap();
    log.purge(log_id(19)).await.unwrap();
    let cut = dir.path().join("cut");
    copy(&live, &cut);
    let mut log = open_log(&Storage::open(&cut).unwrap());
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(19)));
    assert_eq!(state.last_log_id, Some(log_id(79)));
    let found = log.try_get_log_entries(0..1_000).await.unwrap();
    assert_eq!(found.first().unwrap().index(), 20);
    assert_eq!(found.last().unwrap().index(), 79);
}

/// The payload of entry `index`: the ring, then a campaign, then a coupon in each entry.
fn commands(index: u64) -> Vec<u8> {
    use pb::command::Operation;
    use pb::command_entry::InternalCommand;
    let request_id = (u128::from(index) + 1).to_be_bytes().to_vec();
    let log_time_micros = index + 1;
    let operation = match index {
        0 => {
            let adopt = pb::AdoptRingCommand { epoch: 1, ring_shards: vec![1] };
            let internal_command = Some(InternalCommand::AdoptRing(adopt));
            let entry =
                pb::CommandEntry { log_time_micros, internal_command, ..Default::default() };
            return entry.encode_to_vec();
        }
        1 => Operation::CreateCampaign(Box::new(pb::CreateCampaignCommand {
            name: "default/c".into(),
            quota: 1_000_000,
            request_id,
            code_key_id: 1,
            code_scheme: None,
            ..Default::default()
        })),
        _ => Operation::Issue(pb::IssueCommand {
            campaign: "default/c".into(),
            recipient: format!("r{index}"),
            request_id,
            ..Default::default()
        }),
    };
    let command = pb::Command { epoch: 1, operation: Some(operation) };
    let commands = vec![command.encode_to_vec().into()];
    pb::CommandEntry { log_time_micros, commands, ..Default::default() }.encode_to_vec()
}

/// A snapshot of one store as it arrives at another.
fn send(from: &Storage, to: &Storage) -> SnapshotFile {
    snapshot::copy(from, replica_key(), to, replica_key()).unwrap()
}

async fn apply(machine: &mut StateMachine, range: std::ops::Range<u64>) {
    let entries = range.map(|index| Ok((entry(index, commands(index)), None)));
    machine.apply(stream::iter(entries)).await.unwrap();
}

fn issued(storage: &Storage) -> u64 {
    let view = LedgerView::new(storage, replica_key().shard, replica_key().replica).unwrap();
    let id = coupon_cluster::CampaignName::new(&TenantId::default(), "c").unwrap();
    let campaign = view.campaign(&id).unwrap().unwrap();
    let rows = view.coupons_after(&campaign, 0).map(Result::unwrap).count();
    assert_eq!(campaign.counters.issued, rows as u64);
    campaign.counters.issued
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_under_load_holds_just_what_its_last_applied_says() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(&dir.path().join("leader")).unwrap();
    let mut machine = StateMachine::open_ledger(storage.clone(), replica_key()).unwrap();
    apply(&mut machine, 0..100).await;
    let mut next = 100;
    for round in 0..5 {
        let current = machine.get_current_snapshot().await.unwrap().unwrap();
        let known = current.meta.last_log_id.unwrap().index;
        assert_eq!(known, next - 1);
        // On an empty replica, and over what the replica before has left.
        let follower = Storage::open(&dir.path().join(format!("follower-{round}"))).unwrap();
        let mut other = StateMachine::open_ledger(follower.clone(), replica_key()).unwrap();
        apply(&mut other, 0..50).await;
        let (from, to) = (storage.clone(), follower.clone());
        let sending = tokio::task::spawn_blocking(move || send(&from, &to));
        while !sending.is_finished() {
            apply(&mut machine, next..next + 10).await;
            next += 10;
        }
        let received = received_snapshot(sending.await.unwrap()).unwrap();
        let last = received.meta.last_log_id.unwrap().index;
        assert!(last >= known, "older than what the leader counts on");
        other.install_snapshot(&received.meta, received.snapshot).await.unwrap();
        assert_eq!(other.applied_state().await.unwrap().0, Some(log_id(last)));
        assert_eq!(issued(&follower), last + 1 - 2, "entry 0 is the ring, entry 1 the campaign");
        // It goes on from there, and ends where the leader is.
        apply(&mut other, last + 1..next).await;
        let mine = snapshot::digest(&storage, replica_key()).unwrap();
        let theirs = snapshot::digest(&follower, replica_key()).unwrap();
        assert_eq!((mine.applied_index, mine.hex), (theirs.applied_index, theirs.hex));
    }
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_and_the_old_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(&dir.path().join("leader")).unwrap();
    let mut machine = StateMachine::open_ledger(storage.clone(), replica_key()).unwrap();
    apply(&mut machine, 0..500).await;
    let mut good = Vec::new();
    snapshot::write(&storage, replica_key(), &mut good).unwrap();
    let path = dir.path().join("damaged");
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(snapshot::check(&path, replica_key().shard).is_err(), "bit flipped in byte {at}");
        std::fs::write(&path, &good[..at]).unwrap();
        assert!(snapshot::check(&path, replica_key().shard).is_err(), "cut at byte {at}");
    }
    assert_eq!(issued(&storage), 498);
}

/// A snapshot that is ahead of the state would be installed with the next start; one that is behind the purged log
/// would leave entries to nobody.
#[tokio::test]
async fn the_snapshot_of_a_replica_is_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let storage = Storage::open(&live).unwrap();
    let mut machine = StateMachine::open_ledger(storage.clone(), replica_key()).unwrap();
    assert!(machine.get_current_snapshot().await.unwrap().is_none(), "nothing is applied");
    let mut log = open_log(&storage);
    log.blocking_append((0..60).map(|index| entry(index, commands(index)))).await.unwrap();
    apply(&mut machine, 0..60).await;
    let built = machine.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await;
    let built = built.unwrap().meta;
    assert_eq!(built.last_log_id, Some(log_id(59)));
    log.purge(log_id(59)).await.unwrap();
    let cut = dir.path().join("cut");
    copy(&live, &cut);
    let storage = Storage::open(&cut).unwrap();
    let mut machine = StateMachine::open_ledger(storage.clone(), replica_key()).unwrap();
    assert_eq!(machine.applied_state().await.unwrap().0, built.last_log_id);
    let own = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(own.meta, built);
    // It is in force already.
    machine.install_snapshot(&own.meta, own.snapshot).await.unwrap();
    assert_eq!(machine.applied_state().await.unwrap().0, built.last_log_id);
    assert_eq!(issued(&storage), 58);
}

#[tokio::test]
async fn a_hole_in_the_log_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let mut log = open_log(&storage);
    log.blocking_append((0..30).map(|i| entry(i, vec![1; 50]))).await.unwrap();
    log.purge(log_id(9)).await.unwrap();
    let key = LogKeys::new(replica_key().shard, replica_key().replica).entry(20);
    storage.db().delete_cf(storage.log(), key).unwrap();
    // What was just written is in memory.
    let mut log = open_log(&storage);
    assert_eq!(log.try_get_log_entries(0..20).await.unwrap().len(), 10, "10 were purged");
    assert_eq!(log.try_get_log_entries(21..30).await.unwrap().len(), 9);
    for range in [0..30, 19..22, 20..30] {
        assert!(log.try_get_log_entries(range.clone()).await.is_err(), "{range:?}");
    }
    // A range of nothing but the hole looks like one after the end of the log.
    assert!(log.try_get_log_entries(20..21).await.unwrap().is_empty());
}
