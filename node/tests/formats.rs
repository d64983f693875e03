//! Golden bytes: keys and values in RocksDB, the log and its commands, and the floor.
//!
//! A small shard is written through the real log and the real state machine, and its rows are compared with bytes
//! that were written out by hand. `node/FORMATS.md` has the rules. What is private to the storage has its golden
//! bytes beside the code: the identity, snapshot files and index tables.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;

use bytes::Bytes;
use coupon_cluster::{CampaignName, Epoch, ReplicaId, RequestId, ShardId, TenantId};
use coupon_ledger::{Action, Command, Issue};
use coupon_node::codec::command::read_entry;
use coupon_node::raft::log_store::LogStore;
use coupon_node::raft::state_machine::StateMachine;
use coupon_node::raft::types::{Entry, LogId, Member, Membership, Proposal, Vote};
use coupon_node::storage::Storage;
use coupon_node::storage::floor::Floor;
use coupon_node::storage::keys::{KNOWN_MAP, LogKeys, STORE_ID, StateKeys};
use coupon_node::storage::snapshot::{self, ReplicaKey};
use coupon_proto::internal as pb;
use futures::stream;
use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::storage::{
    RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _,
};
use prost::Message as _;
use rocksdb::{ColumnFamily, IteratorMode};

#[path = "formats/campaigns.rs"]
mod campaigns;
#[path = "formats/coupons.rs"]
mod coupons;
#[path = "../src/storage/golden.rs"]
mod golden;
#[path = "formats/holds.rs"]
mod holds;
#[path = "formats/imports.rs"]
mod imports;
#[path = "formats/shard_map.rs"]
mod shard_map;

/// The constant to raise when anything in RocksDB or in the floor changes.
const LAYOUT: &str = "the layout, `VERSION` in identity.rs,";

const KEY: ReplicaKey = ReplicaKey {
    shard: match ShardId::new(0x0102) {
        Ok(shard) => shard,
        Err(_) => panic!("shards go up to 1,023"),
    },
    replica: ReplicaId(7),
};

/// The families of which a state consists.
fn state_families(storage: &Storage) -> impl Iterator<Item = &ColumnFamily> {
    [storage.state(), storage.coupons()].into_iter()
}

#[test]
fn keys_are_as_ever() {
    let log = LogKeys::new(KEY.shard, KEY.replica);
    let state = StateKeys::new(KEY.shard, 3);
    let name = CampaignName::parse("default/spring").unwrap();
    let prefix = "00 00 01 02  00 00 00 03";
    let keys: [(Vec<u8>, &str); 20] = [
        (log.entry(0x0908).into(), "00 00 01 02  00 00 00 00 00 00 00 07  00 00 00 00 00 00 09 08"),
        (log.vote().into(), "00 00 01 02  00 00 00 00 00 00 00 07  56"),
        (log.purged().into(), "00 00 01 02  00 00 00 00 00 00 00 07  50"),
        (log.generation().into(), "00 00 01 02  00 00 00 00 00 00 00 07  47"),
        (log.diverged().into(), "00 00 01 02  00 00 00 00 00 00 00 07  44"),
        (KNOWN_MAP.into(), "4d 41 50"),
        (STORE_ID.into(), "53 54 4f 52 45"),
        (state.prefix().to_vec(), prefix),
        (state.applied(), &format!("{prefix}  41")),
        (state.block(0x0B0A), &format!("{prefix}  42  00 00 00 00 00 00 0b 0a")),
        (
            state.campaign(&name),
            &format!("{prefix}  43  64 65 66 61 75 6c 74  2f  73 70 72 69 6e 67"),
        ),
        (
            state.campaigns_of(&TenantId::default()),
            &format!("{prefix}  43  64 65 66 61 75 6c 74  2f"),
        ),
        (
            state.coupon_history(0x0D0C, 0x0F0E),
            &format!("{prefix}  45  00 00 0d 0c  00 00 00 00 00 00 0f 0e"),
        ),
        (
            state.coupon(0x0D0C, 0x0F0E),
            &format!("{prefix}  49  00 00 0d 0c  00 00 00 00 00 00 0f 0e"),
        ),
        (state.campaign_number(0x0D0C), &format!("{prefix}  4b  00 00 0d 0c")),
        (state.shard_map(), &format!("{prefix}  4d")),
        (state.counters(0x0D0C), &format!("{prefix}  4e  00 00 0d 0c")),
        (state.shard(), &format!("{prefix}  53")),
        (state.terms(), &format!("{prefix}  54")),
        (
            state.event(0x0D0C, 0x0F0E),
            &format!("{prefix}  56  00 00 0d 0c  00 00 00 00 00 00 0f 0e"),
        ),
    ];
    for (found, expected) in &keys {
        golden::check("keys", LAYOUT, found, expected);
    }
}

/// What stands in the log of a small shard at indexes 0 to 4: each a `LogEntry`.
const LOG: [&str; 5] = [
    "
    0a 02  10 07                     | log_id: term 0, leader_replica_id 7, index 0
    1a 0b                            | membership
       0a 03  0a 01 07               |    configs: replica_ids 7
       12 04  08 07  10 03           |    members: replica_id 7, node_id 3
    ",
    "
    0a 06  08 01  10 07  18 01       | log_id: term 1, leader_replica_id 7, index 1
    22 00                            | blank
    ",
    "
    0a 06  08 01  10 07  18 02       | log_id
    12 0b                            | normal: CommandEntry
       08 e8 07                      |    log_time_micros 1,000
       22 06  08 01  12 02 82 02     |    adopt_ring: epoch 1, ring_shards 258
    ",
    "
    0a 06  08 01  10 07  18 03       | log_id
    12 45                            | normal: CommandEntry
       08 d0 0f                      |    log_time_micros 2,000
       12 40                         |    commands: Command
          08 01                      |       epoch 1
          12 3c                      |       create_campaign
             0a 0e 64 65 66 61 75 6c 74 2f 73 70 72 69 6e 67 | name default/spring
             12 06 53 70 72 69 6e 67 |          display_name Spring
             18 ac 02                |          quota 300
             30 02                   |          per_recipient_limit 2
             38 88 27                |          coupon_ttl_micros 5,000
             42 06  0a 01 61  12 01 31 |        labels: a to 1
             4a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
             50 01                   |          code_key_id 1
    ",
    "
    0a 06  08 01  10 07  18 04       | log_id
    12 95 01                         | normal: CommandEntry
       08 b8 17                      |    log_time_micros 3,000
       12 35                         |    commands: Command
          08 01                      |       epoch 1
          1a 31                      |       issue
             0a 0e 64 65 66 61 75 6c 74 2f 73 70 72 69 6e 67 | campaign default/spring
             12 05 61 6c 69 63 65    |          recipient alice
             1a 10 21 21 21 21 21 21 21 21 21 21 21 21 21 21 21 21 | request_id
             22 06  0a 01 6b  12 01 76 |        metadata: k to v
       12 2b                         |    commands: Command
          08 01                      |       epoch 1
          1a 27                      |       issue
             0a 0e 64 65 66 61 75 6c 74 2f 73 70 72 69 6e 67 | campaign default/spring
             12 03 62 6f 62          |          recipient bob
             1a 10 22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 | request_id
       1a 24                         |    applied_digest: that of the state below at index 3
          08 03                      |       index 3
          12 20 42 ba bb ba 15 72 92 e1 63 cd 25 6b e7 c2 bc e7 | digest
                6f a7 2a 5d bd 44 d9 f9 5d 2f 10 98 4f 2b 54 1a |
       70 03                         |    committed_index 3
       7a 04  08 08  10 02           |    acknowledged: replica_id 8, index 2
    ",
];

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 7 }, index)
}

/// The payload of an entry of `LOG`: what follows the log id, and the tag and length of the field `normal`.
fn payload(index: usize) -> Bytes {
    let pb::LogEntry { payload, .. } =
        pb::LogEntry::decode(&golden::bytes(LOG[index])[..]).unwrap();
    match payload {
        Some(pb::log_entry::Payload::Normal(bytes)) => bytes,
        other => panic!("the entry at index {index} is no normal one: {other:?}"),
    }
}

/// The entries of `LOG`.
fn entries() -> Vec<Entry> {
    let members = BTreeMap::from([(7, Member { node_id: 3 })]);
    let membership = Membership::new(vec![[7].into()], members).unwrap();
    let normal = |index| EntryPayload::Normal(Proposal(payload(index)));
    let payloads = [EntryPayload::Membership(membership), EntryPayload::Blank]
        .into_iter()
        .chain([2, 3, 4].map(normal));
    let ids = (0..).map(|index| log_id(index.min(1), index));
    ids.zip(payloads).map(|(id, payload)| Entry::new(id, payload)).collect()
}

#[tokio::test]
async fn the_log_and_the_vote_are_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let open = || LogStore::open(storage.clone(), KEY.shard, KEY.replica).unwrap();
    let mut log = open();
    let vote = Vote::new_committed(1, 7);
    log.save_vote(&vote).await.unwrap();
    log.blocking_append(entries()).await.unwrap();
    let keys = LogKeys::new(KEY.shard, KEY.replica);
    for (index, expected) in (0..).zip(LOG) {
        let found = storage.db().get_cf(storage.log(), keys.entry(index)).unwrap().unwrap();
        golden::check("log entries", LAYOUT, &found, expected);
    }
    log.purge(log_id(1, 1)).await.unwrap();
    let meta = |key: [u8; 13]| storage.db().get_cf(storage.meta(), key).unwrap().unwrap();
    let expected = "08 01  10 07  18 01 | term 1, replica_id 7, committed";
    golden::check("votes", LAYOUT, &meta(keys.vote()), expected);
    let expected = "08 01  10 07  18 01 | term 1, leader_replica_id 7, index 1";
    golden::check("purge marks", LAYOUT, &meta(keys.purged()), expected);

    let mut again = open();
    assert_eq!(again.read_vote().await.unwrap(), Some(vote));
    assert_eq!(again.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(1, 1)));
    let read = again.try_get_log_entries(2..5).await.unwrap();
    let shown = |entries: &[Entry]| format!("{entries:?}");
    assert_eq!(shown(&read), shown(&entries()[2..]));
}

/// Commands besides those in `LOG`.
const COMMANDS: [&str; 2] = [
    "
    08 01                            | epoch 1
    12 24  0a 01 63                  | create_campaign: name c
       4a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
       5a 0d  08 03  12 09 53 55 4d 4d 45 52 2d 32 33 | code_scheme: format LATIN_16, prefix SUMMER-23
    ",
    "
    2a 00                            | of a CommandEntry: skip_counters
    ",
];

#[test]
fn commands_are_as_ever() {
    let issue = |recipient: &str, request: u8, metadata: &[(&str, &str)]| {
        let metadata = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        pb::IssueCommand {
            campaign: "default/spring".into(),
            recipient: recipient.into(),
            request_id: vec![request; 16],
            metadata: metadata.collect(),
        }
    };
    let issues = [issue("alice", 0x21, &[("k", "v")]), issue("bob", 0x22, &[])];
    let encoded =
        |operation| pb::Command { epoch: 1, operation: Some(operation) }.encode_to_vec().into();
    // As the leader has read it, besides the commands.
    let mut entry = pb::CommandEntry::decode(payload(4)).unwrap();
    assert_eq!(entry.acknowledged, [pb::AcknowledgedIndex { replica_id: 8, index: 2 }]);
    assert_eq!((entry.log_time_micros, entry.committed_index), (3_000, 3));
    assert_eq!(entry.applied_digest.as_ref().map(|digest| digest.index), Some(3));
    entry.commands = issues.clone().map(pb::command::Operation::Issue).map(encoded).into();
    let normal = pb::log_entry::Payload::Normal(entry.encode_to_vec().into());
    let id = pb::LogId { term: 1, leader_replica_id: 7, index: 4 };
    let found = pb::LogEntry { log_id: Some(id), payload: Some(normal) };
    golden::check("commands", LAYOUT, &found.encode_to_vec(), LOG[4]);

    let read = issues.map(|issue| Command {
        epoch: Epoch(1),
        action: Action::Issue(Issue {
            campaign: CampaignName::parse(&issue.campaign).unwrap(),
            recipient: issue.recipient,
            request_id: RequestId::from_bytes(&issue.request_id).unwrap(),
            metadata: issue.metadata,
        }),
    });
    assert_eq!(read_entry(pb::CommandEntry::decode(payload(4)).unwrap()).unwrap(), read);

    let code_scheme = pb::CodeScheme { format: 3, prefix: "SUMMER-23".to_owned() };
    let create = pb::CreateCampaignCommand {
        name: "c".to_owned(),
        request_id: vec![0x11; 16],
        code_scheme: Some(code_scheme),
        ..Default::default()
    };
    let skip = pb::command_entry::InternalCommand::SkipCounters(pb::SkipCountersCommand {});
    let skip = pb::CommandEntry { internal_command: Some(skip), ..Default::default() };
    let found: [Bytes; 2] = [
        encoded(pb::command::Operation::CreateCampaign(create.into())),
        skip.encode_to_vec().into(),
    ];
    for (found, expected) in found.iter().zip(COMMANDS) {
        golden::check("commands", LAYOUT, found, expected);
    }
}

/// The rows of the shard once it has applied `LOG`, in key order: keys without prefix, and values. Each digest is
/// the SHA-256 of the one before and the rows of one entry, as `hashlib.sha256` of Python has it.
const STATE: [(&str, &str); 9] = [
    (
        "41",
        "
        0a 06  08 01  10 07  18 04       | last_applied: term 1, leader_replica_id 7, index 4
        12 11                            | membership
           0a 02  10 07                  |    log_id: index 0
           12 0b  0a 03  0a 01 07  12 04  08 07  10 03 | membership: as in the log
        ",
    ),
    (
        "42  00 00 00 00 00 00 00 00",
        "
        10 01                            | campaign_number 0, first_sequence 1
        ",
    ),
    (
        "43  64 65 66 61 75 6c 74  2f  73 70 72 69 6e 67",
        "
        0a 0e 64 65 66 61 75 6c 74 2f 73 70 72 69 6e 67 | name default/spring
        12 06 53 70 72 69 6e 67          | display_name Spring
        18 ac 02                         | quota 300
        20 d0 0f                         | start_micros 2,000
        30 02                            | per_recipient_limit 2
        38 88 27                         | coupon_ttl_micros 5,000
        42 06  0a 01 61  12 01 31        | labels: a to 1
        4a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
        50 01                            | code_key_id 1; number 0
        60 d0 0f                         | create_micros 2,000
        68 82 02                         | code_shard_id 258
        90 01 d0 0f                      | update_micros 2,000
        98 01 01                         | update_revision 1
        ",
    ),
    (
        "49  00 00 00 00  00 00 00 00 00 00 00 01",
        "
        0a 27                            | coupons: the first, with counter 0
           12 05 61 6c 69 63 65          |    recipient alice
           1a 10 21 21 21 21 21 21 21 21 21 21 21 21 21 21 21 21 | request_id
           20 b8 17                      |    issue_micros 3,000
           28 c0 3e                      |    expire_micros 8,000
           32 06  0a 01 6b  12 01 76     |    metadata: k to v
        0a 1f                            | coupons: the second
           08 01                         |    counter 1
           12 03 62 6f 62                |    recipient bob
           1a 10 22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 | request_id
           20 b8 17                      |    issue_micros 3,000
           28 c0 3e                      |    expire_micros 8,000
        10 04                            | log_index 4
        ",
    ),
    (
        "4b  00 00 00 00",
        "
        0a 0e 64 65 66 61 75 6c 74 2f 73 70 72 69 6e 67 | name default/spring
        ",
    ),
    (
        "4e  00 00 00 00",
        "
        08 02                            | issued 2
        10 03                            | revision 3
        18 02                            | next_counter 2
        20 fe ff 03                      | block_left 65,534
        28 b8 17                         | open_micros 3,000
        ",
    ),
    (
        "53",
        "
        08 01                            | epoch 1
        12 02 82 02                      | ring_shards 258
        18 01                            | next_campaign_number 1
        20 01                            | next_block 1
        28 b8 17                         | log_time_micros 3,000
        32 20 d8 09 fe 97 fe 4b 6f 82 9f be 34 7a 66 99 ed 4b | running_digest
              5d 32 1c d6 e2 fb 32 9b d9 e3 69 7e a0 6c 89 4b |
        ",
    ),
    (
        "54",
        "
        0a 06  08 01  10 07  18 01       | starts: term 1, leader_replica_id 7, first_index 1
        ",
    ),
    (
        "56  00 00 00 00  00 00 00 00 00 00 00 01",
        "
        08 03                            | log_index 3
        10 d0 0f                         | time_micros 2,000
        1a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
        52 16                            | campaign_created: CampaignTerms
           0a 06 53 70 72 69 6e 67       |    display_name Spring
           10 ac 02                      |    quota 300
           18 d0 0f                      |    start_micros 2,000
           2a 06  0a 01 61  12 01 31     |    labels: a to 1
        ",
    ),
];

/// The rows of a state, in key order.
fn rows(storage: &Storage) -> BTreeMap<Box<[u8]>, Box<[u8]>> {
    let of = |family| storage.db().iterator_cf(family, IteratorMode::Start).map(Result::unwrap);
    state_families(storage).flat_map(of).collect()
}

#[track_caller]
fn check_state(storage: &Storage, generation: u32) {
    let keys = StateKeys::new(KEY.shard, generation);
    let rows = rows(storage);
    assert_eq!(rows.len(), STATE.len());
    for ((key, value), (suffix, expected)) in rows.iter().zip(STATE) {
        let suffix = golden::bytes(suffix);
        assert_eq!(**key, keys.with_suffix(&suffix), "another row than that of {suffix:x?}");
        golden::check("rows of the state", LAYOUT, value, expected);
    }
}

#[tokio::test]
async fn the_state_is_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let mut machine = StateMachine::open_ledger(storage.clone(), KEY).unwrap();
    let entries = entries().into_iter().map(|entry| Ok((entry, None)));
    machine.apply(stream::iter(entries)).await.unwrap();
    check_state(&storage, 0);

    let received = snapshot::copy(&storage, KEY, &storage, KEY).unwrap();
    drop(machine);
    snapshot::install(&storage, KEY, &received).unwrap();
    check_state(&storage, 1);
    let key = LogKeys::new(KEY.shard, KEY.replica).generation();
    let generation = storage.db().get_cf(storage.meta(), key).unwrap().unwrap();
    golden::check("generations", LAYOUT, &generation, "00 00 00 01");
}

const FIRST_SLOT: &str = "00 00 00 00 00 00 01 02  92 37 8f 04  00 00 00 00 | 258, CRC-32, zeros";
const SECOND_SLOT: &str = "00 00 00 00 00 00 01 03  e5 30 bf 92  00 00 00 00 | 259, CRC-32, zeros";

#[test]
fn the_floor_is_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut floor = Floor::create(dir.path()).unwrap();
    floor.raise(258).unwrap();
    floor.raise(259).unwrap();
    let path = dir.path().join("floor");
    let found = std::fs::read(&path).unwrap();
    golden::check("the floor", LAYOUT, &found[..16], FIRST_SLOT);
    golden::check("the floor", LAYOUT, &found[512..], SECOND_SLOT);
    assert!(found[16..512].iter().all(|byte| *byte == 0));

    let mut golden = vec![0; 528];
    golden[..16].copy_from_slice(&golden::bytes(FIRST_SLOT));
    golden[512..].copy_from_slice(&golden::bytes(SECOND_SLOT));
    std::fs::write(&path, golden).unwrap();
    assert_eq!(Floor::open(dir.path()).unwrap().unwrap().sequence(), 259);
}
