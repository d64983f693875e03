//! The index through a ledger that issues coupons: while tables are written, after a crash, and where it differs
//! from the coupons.

mod recipients;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_cluster::{
    CampaignName, CodeScheme, Epoch, KeyId, ReplicaId, RequestId, ShardId, TenantId,
};
use coupon_ledger::{
    Action, ArchiveCampaign, CodeNumber, Command, CreateCampaign, DeleteCampaign, EndCampaign,
    Issue, Ledger, LogTime, Outcome, Refusal, VoidCoupon,
};
use coupon_proto::internal as pb;
use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::super::keys::StateKeys;
use super::super::ledger::{LedgerBatch, running_digest};
use super::super::view::{CouponPlace, LedgerView};
use super::super::{Storage, StorageError};
use super::claim::{Claim, Key};
use super::memtable::Memtable;
use super::table::Table;
use super::tables::{Merge, TableDir, pick_compaction};
use super::{Coupons, TABLE_CLAIMS, dir_name};

const LIMITED: &str = "limited";
const UNLIMITED: &str = "unlimited";

fn shard() -> ShardId {
    ShardId::new(1).unwrap()
}

fn keys() -> StateKeys {
    StateKeys::new(shard(), 0)
}

fn apply(storage: &Storage, actions: impl IntoIterator<Item = Action>) -> Vec<Outcome> {
    let digest = running_digest(storage, &keys()).unwrap();
    let mut batch = LedgerBatch::new(storage, keys(), digest).unwrap();
    let mut ledger = Ledger::open(shard(), &mut batch).unwrap();
    let epoch = ledger.state().epoch;
    let commands = actions.into_iter().map(|action| Command { epoch, action }).collect();
    let outcomes = ledger.apply(&mut batch, LogTime(1_000), commands).unwrap();
    let (rows, _, freed) = batch.finish();
    storage.write(rows).unwrap();
    freed.note();
    outcomes
}

/// A new shard with two campaigns.
fn open(dir: &std::path::Path) -> Storage {
    let storage = Storage::open(dir).unwrap();
    apply(&storage, [Action::AdoptRing { epoch: Epoch(1), ring_shards: vec![shard()] }]);
    for (id, per_recipient_limit) in [(LIMITED, 2), (UNLIMITED, 0)] {
        apply(&storage, [create(id, per_recipient_limit)]);
    }
    storage
}

fn create(id: &str, per_recipient_limit: u32) -> Action {
    Action::CreateCampaign(CreateCampaign {
        name: CampaignName::new(&TenantId::default(), id).unwrap(),
        display_name: String::new(),
        quota: 1_000_000,
        start: None,
        end: None,
        per_recipient_limit,
        coupon_ttl_micros: None,
        labels: Default::default(),
        request_id: RequestId::from_bytes(&[255; 16]).unwrap(),
        code_key: KeyId(1),
        code_scheme: CodeScheme::default(),
        has_imported_codes: false,
    })
}

fn request(number: u64) -> RequestId {
    RequestId::from_bytes(&u128::from(number + 1).to_be_bytes()).unwrap()
}

/// Two requests that follow each other come from one recipient.
fn issue(campaign: &str, number: u64) -> Action {
    Action::Issue(Issue {
        campaign: CampaignName::new(&TenantId::default(), campaign).unwrap(),
        recipient: format!("recipient-{}", number / 2),
        request_id: request(number),
        metadata: Default::default(),
    })
}

fn issue_all(storage: &Storage, campaign: &str, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        let outcomes = apply(storage, [issue(campaign, number)]);
        let is_new = matches!(outcomes[..], [Outcome::CouponIssued { replayed: false, .. }]);
        assert!(is_new, "{number}: {outcomes:?}");
    }
}

/// Checks that request `number` is answered with coupon `number + 1`, and that its recipient is at the limit.
fn check_known(storage: &Storage, number: u64) {
    for campaign in [LIMITED, UNLIMITED] {
        match &apply(storage, [issue(campaign, number)])[..] {
            [Outcome::CouponIssued { issued, replayed: true, .. }] => {
                assert_eq!(issued.sequence, number + 1);
            }
            other => panic!("{campaign} {number}: {other:?}"),
        }
    }
    let Action::Issue(again) = issue(LIMITED, number) else { unreachable!() };
    let again = Action::Issue(Issue { request_id: request(number + 1_000_000), ..again });
    match &apply(storage, [again])[..] {
        [Outcome::Refused(Refusal::RecipientLimitReached { held, .. })] => {
            let held: Vec<_> = held.iter().map(|held| held.sequence).collect();
            assert_eq!(held, [number / 2 * 2 + 1, number / 2 * 2 + 2]);
        }
        other => panic!("{number}: {other:?}"),
    }
}

/// Checks that lists show what recipient `number` holds.
fn check_listed(storage: &Storage, number: u64) {
    let view = LedgerView::new(storage, shard(), ReplicaId(1)).unwrap();
    for campaign in [LIMITED, UNLIMITED] {
        let campaign = view
            .campaign(&CampaignName::new(&TenantId::default(), campaign).unwrap())
            .unwrap()
            .unwrap();
        let recipient = format!("recipient-{number}");
        let listed = |sequence| -> Vec<u64> {
            let campaign_number = campaign.spec.number;
            let places = view.claimed_by(&recipient, CouponPlace { campaign_number, sequence }, 9);
            let here = places.unwrap().into_iter();
            let here = here.filter(|place| place.campaign_number == campaign_number);
            let held = here.map(|place| view.held(&campaign, place.sequence, &recipient).unwrap());
            held.flatten().map(|coupon| coupon.sequence).collect()
        };
        assert_eq!(listed(0), [2 * number + 1, 2 * number + 2]);
        assert_eq!(listed(2 * number + 1), [2 * number + 2]);
    }
}

/// The coupons of a batch, and the number of look-ups.
struct Counted<'a> {
    batch: LedgerBatch<'a>,
    look_ups: Cell<usize>,
}

impl Coupons for Counted<'_> {
    fn coupon(&self, number: u32, sequence: u64) -> Result<Option<pb::CouponRecord>, StorageError> {
        self.look_ups.set(self.look_ups.get() + 1);
        self.batch.coupon(number, sequence)
    }

    fn has_returned_quota(&self, number: u32, sequence: u64) -> Result<bool, StorageError> {
        self.look_ups.set(self.look_ups.get() + 1);
        self.batch.has_returned_quota(number, sequence)
    }
}

/// Ten coupons that one recipient holds, the latest eight of which returned their quota.
#[test]
fn coupons_that_returned_their_quota_are_skipped_with_two_look_ups_each() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let campaign = CampaignName::new(&TenantId::default(), UNLIMITED).unwrap();
    for number in 0..10 {
        let issue = Issue {
            campaign: campaign.clone(),
            recipient: "ann".to_owned(),
            request_id: request(number),
            metadata: Default::default(),
        };
        let void = VoidCoupon {
            code: CodeNumber {
                tenant: TenantId::default(),
                shard: shard(),
                key: KeyId(1),
                counter: number,
                scheme: CodeScheme::default(),
            }
            .into(),
            request_id: request(number),
            reason: String::new(),
            return_quota: true,
        };
        let void = (number > 1).then_some(Action::VoidCoupon(void));
        apply(&storage, [Action::Issue(issue)].into_iter().chain(void));
    }
    let digest = running_digest(&storage, &keys()).unwrap();
    let batch = LedgerBatch::new(&storage, keys(), digest).unwrap();
    let index = storage.index_of(keys()).unwrap();
    let coupons = Counted { batch, look_ups: Cell::new(0) };
    let look_up = |recipient, limit, skipped_max| {
        coupons.look_ups.set(0);
        let layers = index.layers();
        let held = index.held_at_limit(&layers, &coupons, 1, recipient, limit, skipped_max);
        (held.unwrap(), coupons.look_ups.get())
    };
    assert_eq!(look_up("ann", 2, 8), (Some(vec![1, 2]), 20));
    assert_eq!(look_up("ann", 3, 8), (None, 20));
    assert_eq!(look_up("ann", 2, 7), (Some(vec![]), 16));
    assert_eq!(look_up("ann", 1, 7), (Some(vec![]), 16), "the oldest ones are not looked at");
    assert_eq!(look_up("ann", 11, 20), (None, 0), "there are too few");
    assert_eq!(look_up("ann", 2, 0), (Some(vec![9, 10]), 2), "histories are not looked at");
    assert_eq!(look_up("bob", 1, 8), (None, 0));
}

/// Several tables, and rows in memory besides.
const COUPONS: u64 = 20 * TABLE_CLAIMS as u64 / 4 + 6;

#[test]
fn requests_and_recipients_are_found_in_memory_and_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    for number in (0..COUPONS).step_by(2) {
        issue_all(&storage, LIMITED, number..number + 2);
        issue_all(&storage, UNLIMITED, number..number + 2);
        check_known(&storage, number);
        check_listed(&storage, number / 2);
    }
    let on_disk = claims_on_disk(&storage);
    assert!(on_disk >= 8 * TABLE_CLAIMS, "{on_disk}");
    let check = |storage: &Storage| {
        (0..COUPONS).for_each(|number| check_known(storage, number));
        (0..COUPONS / 2).for_each(|number| check_listed(storage, number));
    };
    check(&storage);
    check(&reopened(storage, dir.path()));
}

/// The storage as it is after the process was killed.
fn reopened(storage: Storage, dir: &std::path::Path) -> Storage {
    storage.sync().unwrap();
    drop(storage);
    Storage::open(dir).unwrap()
}

/// The path of the index.
fn path(dir: &std::path::Path) -> std::path::PathBuf {
    dir.join("index").join(dir_name(keys()))
}

/// The number of claims in tables, once what is under way is written. The index takes no more to disk then.
fn claims_on_disk(storage: &Storage) -> usize {
    let index = storage.index_of(keys()).unwrap();
    while !index.layers().full.is_empty() {
        std::thread::yield_now();
    }
    index.close();
    let layers = index.layers();
    layers.tables.iter().flat_map(|table| table.claims_from(Claim::FIRST)).count()
}

#[test]
fn an_index_that_is_lost_or_damaged_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(dir.path());
    for campaign in [LIMITED, UNLIMITED] {
        issue_all(&storage, campaign, 0..COUPONS);
    }
    type Harm = fn(&[std::path::PathBuf]);
    let harms: [Harm; 5] = [
        |tables| tables.iter().for_each(|table| std::fs::remove_file(table).unwrap()),
        |tables| std::fs::remove_file(&tables[0]).unwrap(),
        |tables| std::fs::remove_file(&tables[1]).unwrap(),
        |tables| std::fs::write(&tables[1], []).unwrap(),
        // A table that is cut within its tail.
        |tables| {
            let bytes = std::fs::read(&tables[0]).unwrap();
            std::fs::write(&tables[0], &bytes[..bytes.len() - 20]).unwrap();
        },
    ];
    for harm in harms {
        assert!(claims_on_disk(&storage) >= 8 * TABLE_CLAIMS);
        storage.sync().unwrap();
        drop(storage);
        let files = std::fs::read_dir(path(dir.path())).unwrap();
        let mut tables: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        tables.sort_unstable();
        assert!(tables.len() > 1, "{tables:?}");
        harm(&tables);
        storage = Storage::open(dir.path()).unwrap();
        (0..COUPONS).for_each(|number| check_known(&storage, number));
        (0..COUPONS / 2).for_each(|number| check_listed(&storage, number));
    }
}

#[test]
fn a_deleted_campaign_leaves_no_coupons_and_in_time_no_claims() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    // Three tables.
    let few = 3 * TABLE_CLAIMS as u64 / 2;
    issue_all(&storage, LIMITED, 0..few);
    let campaign = CampaignName::new(&TenantId::default(), LIMITED).unwrap();
    let request_id = |number: u64| request(2_000_000 + number);
    let actions = [
        Action::EndCampaign(EndCampaign { campaign: campaign.clone(), request_id: request_id(1) }),
        Action::ArchiveCampaign(ArchiveCampaign {
            campaign: campaign.clone(),
            request_id: request_id(2),
        }),
        Action::DeleteCampaign(DeleteCampaign { campaign, request_id: request_id(3) }),
    ];
    let outcomes = apply(&storage, actions);
    assert!(matches!(outcomes[2], Outcome::CampaignDeleted { replayed: false }), "{outcomes:?}");
    let rows = |storage: &Storage, number| {
        let prefix = keys().coupons(number);
        let mode = IteratorMode::From(&prefix, Direction::Forward);
        let rows = storage.db().iterator_cf(storage.coupons(), mode);
        rows.take_while(|row| row.as_ref().unwrap().0.starts_with(&prefix)).count()
    };
    assert_eq!(rows(&storage, 0), 0);

    // More tables, until the first ones are merged.
    issue_all(&storage, UNLIMITED, 0..COUPONS);
    let secret = *storage.index_of(keys()).unwrap().dir.secret();
    let claims = |storage: &Storage, number| {
        let tables = storage.index_of(keys()).unwrap().layers().tables;
        let claims = tables.iter().flat_map(|table| table.claims_from(Claim::FIRST));
        claims.filter(|claim| claim.as_ref().unwrap().key.number == number).count()
    };
    let began = Instant::now();
    while claims(&storage, 0) > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "its claims are still there");
        std::thread::yield_now();
    }
    assert!(claims(&storage, 1) > 0);
    claims_on_disk(&storage);

    // The index lacks nothing, so that it is not made again.
    let storage = reopened(storage, dir.path());
    assert_eq!(*storage.index_of(keys()).unwrap().dir.secret(), secret);
    for number in 0..COUPONS {
        let again = apply(&storage, [issue(UNLIMITED, number)]);
        assert!(matches!(again[..], [Outcome::CouponIssued { replayed: true, .. }]), "{number}");
    }
    let gone = apply(&storage, [issue(LIMITED, 0)]);
    assert_eq!(gone, [Outcome::Refused(Refusal::CampaignNotFound)]);

    // Nor does one that is made anew look for the coupons.
    storage.sync().unwrap();
    drop(storage);
    std::fs::remove_dir_all(path(dir.path())).unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let again = apply(&storage, [issue(UNLIMITED, 7)]);
    assert!(matches!(again[..], [Outcome::CouponIssued { replayed: true, .. }]));
}

#[test]
fn a_block_with_a_flipped_bit_is_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    issue_all(&storage, LIMITED, 0..COUPONS);
    assert!(claims_on_disk(&storage) >= TABLE_CLAIMS);
    storage.sync().unwrap();
    drop(storage);
    let table = std::fs::read_dir(path(dir.path())).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&table, bytes).unwrap();

    let (_, tables) = TableDir::open(path(dir.path())).unwrap();
    let read: Result<Vec<_>, _> =
        tables.iter().flat_map(|table| table.claims_from(Claim::FIRST)).collect();
    assert!(matches!(read, Err(StorageError::Corrupt { .. })), "{read:?}");
    // It is out of the way, so that the next start makes the index again.
    assert!(!table.exists());
    let (_, tables) = TableDir::open(path(dir.path())).unwrap();
    assert!(tables.is_empty());
}

#[test]
fn what_a_crash_left_of_a_merge_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (index, tables) = TableDir::open(dir.path().to_owned()).unwrap();
    assert!(tables.is_empty());
    let mut tables: Vec<Arc<Table>> = Vec::new();
    let claim = |part: u32, sequence| {
        let hash = u64::from(sequence).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Claim { key: Key { hash, number: part % 3 }, sequence }
    };
    let mut all = Vec::new();
    for part in 0..8 {
        let mut memtable = Memtable::default();
        for sequence in part * 1_000 + 1..=(part + 1) * 1_000 {
            memtable.insert(claim(part, sequence));
            memtable.note_through(part % 3, sequence);
        }
        all.extend(memtable.sorted());
        assert_eq!(pick_compaction(&tables), None);
        tables.push(index.add(&tables, &memtable).unwrap().into());
    }
    all.sort_unstable();
    assert_eq!(pick_compaction(&tables), Some(0..8));
    assert!(matches!(index.merge(&tables, &BTreeSet::new(), || Ok(false)).unwrap(), Merge::Ended));
    let Merge::Done(merged) = index.merge(&tables, &BTreeSet::new(), || Ok(true)).unwrap() else {
        panic!("there is room");
    };
    let through: Vec<_> = merged.through().collect();
    assert_eq!(through, [(0, 7_000), (1, 8_000), (2, 6_000)]);
    // The merged tables are still there, and another one was begun.
    std::fs::write(dir.path().join("0000000009-0000000009.tmp"), b"begun").unwrap();
    let (_, found) = TableDir::open(dir.path().to_owned()).unwrap();
    assert_eq!(found.len(), 1);
    let claims = |first| found[0].claims_from(first).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(claims(Claim::FIRST), all);
    for place in (0..all.len()).step_by(97) {
        assert_eq!(claims(all[place]), all[place..]);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_compaction_without_room_is_put_off() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    // Where the merged table is to be written, there never is any room.
    let temporary = path(dir.path()).join("0000000001-0000000008.tmp");
    std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
    // The attempt takes the link away, and one after a further table succeeds.
    let has_merged = || {
        let files = std::fs::read_dir(path(dir.path())).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let is_first = |name: &String| name.starts_with("0000000001-") && name.ends_with(".table");
        names.filter(is_first).any(|name| name != "0000000001-0000000001.table")
    };
    let mut number = 0;
    while !has_merged() {
        assert!(number < 50 * COUPONS, "the tables are merged at last");
        issue_all(&storage, LIMITED, number..number + 2);
        number += 2;
    }
    assert!(!temporary.exists());
    (0..number).for_each(|number| match &apply(&storage, [issue(LIMITED, number)])[..] {
        [Outcome::CouponIssued { issued, replayed: true, .. }] => {
            assert_eq!(issued.sequence, number + 1);
        }
        other => panic!("{number}: {other:?}"),
    });
}

#[test]
fn rows_of_a_history_that_was_given_up_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let storage = open(&kept);
    for campaign in [LIMITED, UNLIMITED] {
        issue_all(&storage, campaign, 0..20);
    }
    // The rows of the state as they are now, and the index as it is later.
    let state = |storage: &Storage| -> Vec<_> {
        let rows = |family| {
            storage.db().iterator_cf(family, rocksdb::IteratorMode::Start).map(Result::unwrap)
        };
        rows(storage.state()).chain(rows(storage.coupons())).collect()
    };
    let before = state(&storage);
    for campaign in [LIMITED, UNLIMITED] {
        issue_all(&storage, campaign, 20..COUPONS);
    }
    assert!(claims_on_disk(&storage) >= 2 * TABLE_CLAIMS);
    let mut back = WriteBatch::default();
    for family in [storage.state(), storage.coupons()] {
        back.delete_range_cf(family, &[][..], &[255; 9][..]);
    }
    for (key, value) in before {
        let is_coupon_row = StateKeys::is_coupon_row(&key);
        let family = if is_coupon_row { storage.coupons() } else { storage.state() };
        back.put_cf(family, key, value);
    }
    storage.close_index_of(keys());
    storage.write(back).unwrap();
    let storage = reopened(storage, &kept);

    // Other requests and recipients get the numbers.
    let others = || 5_000..5_000 + COUPONS - 20;
    for campaign in [LIMITED, UNLIMITED] {
        issue_all(&storage, campaign, others());
    }
    let storage = reopened(storage, &kept);
    for campaign in [LIMITED, UNLIMITED] {
        for number in others() {
            match &apply(&storage, [issue(campaign, number)])[..] {
                [Outcome::CouponIssued { issued, replayed: true, .. }] => {
                    assert_eq!(issued.sequence, number - 5_000 + 21);
                }
                other => panic!("{campaign} {number}: {other:?}"),
            }
        }
        // Nobody has heard of those that were given up.
        issue_all(&storage, campaign, 20..COUPONS);
    }
}
