//! The index through a ledger that issues coupons: while tables are written, after a crash, and where it differs
//! from the coupons.

use coupon_cluster::{CampaignId, Epoch, KeyId, ReplicaId, RequestId, ShardId};
use coupon_ledger::{Action, Command, CreateCampaign, Issue, Ledger, LogTime, Outcome, Refusal};
use rocksdb::WriteBatch;

use super::super::keys::StateKeys;
use super::super::ledger::{LedgerBatch, running_digest};
use super::super::view::LedgerView;
use super::super::{Storage, StorageError};
use super::{TABLE_ROWS, merged};

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
    storage.write(batch.finish().0).unwrap();
    outcomes
}

/// A new shard with two campaigns.
fn open(dir: &std::path::Path) -> Storage {
    let storage = Storage::open(dir).unwrap();
    apply(&storage, [Action::AdoptRing { epoch: Epoch(1), ring_shards: vec![shard()] }]);
    for (id, per_recipient_limit) in [(LIMITED, 2), (UNLIMITED, 0)] {
        let create = CreateCampaign {
            id: CampaignId::parse(id).unwrap(),
            display_name: String::new(),
            quota: 1_000_000,
            start: None,
            end: None,
            per_recipient_limit,
            coupon_ttl_micros: None,
            labels: Default::default(),
            request_id: RequestId::from_bytes(&[255; 16]).unwrap(),
            code_key: KeyId(1),
        };
        apply(&storage, [Action::CreateCampaign(create)]);
    }
    storage
}

fn request(number: u64) -> RequestId {
    RequestId::from_bytes(&u128::from(number + 1).to_be_bytes()).unwrap()
}

/// Two requests that follow each other come from one recipient.
fn issue(campaign: &str, number: u64) -> Action {
    Action::Issue(Issue {
        campaign: CampaignId::parse(campaign).unwrap(),
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
            [Outcome::CouponIssued { issued, replayed: true }] => {
                assert_eq!(issued.sequence, number + 1);
            }
            other => panic!("{campaign} {number}: {other:?}"),
        }
    }
    let Action::Issue(again) = issue(LIMITED, number) else { unreachable!() };
    let again = Action::Issue(Issue { request_id: request(number + 1_000_000), ..again });
    match &apply(storage, [again])[..] {
        [Outcome::Refused(Refusal::RecipientLimitReached { held })] => {
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
        let campaign = view.campaign(&CampaignId::parse(campaign).unwrap()).unwrap().unwrap();
        let recipient = format!("recipient-{number}");
        let listed = |after| -> Vec<u64> {
            let coupons = view.coupons_of(&campaign, &recipient, after);
            coupons.unwrap().map(|coupon| coupon.unwrap().sequence).collect()
        };
        assert_eq!(listed(0), [2 * number + 1, 2 * number + 2]);
        assert_eq!(listed(2 * number + 1), [2 * number + 2]);
    }
}

/// Several tables, and rows in memory besides.
const COUPONS: u64 = 5 * TABLE_ROWS as u64 / 4 + 6;

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
    assert!(rows_on_disk(&storage) >= 2 * TABLE_ROWS, "{}", rows_on_disk(&storage));
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

fn rows_on_disk(storage: &Storage) -> usize {
    // Waits for the table that is being written.
    storage.index_of(keys()).unwrap().close();
    storage.db().iterator_cf(storage.index(), rocksdb::IteratorMode::Start).count()
}

#[test]
fn an_index_that_is_lost_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(dir.path());
    for campaign in [LIMITED, UNLIMITED] {
        issue_all(&storage, campaign, 0..COUPONS);
    }
    for _ in 0..2 {
        storage.close_index_of(keys());
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(storage.index(), &[][..], &[255; 9][..]);
        storage.write(batch).unwrap();
        storage = reopened(storage, dir.path());
        (0..COUPONS).for_each(|number| check_known(&storage, number));
        (0..COUPONS / 2).for_each(|number| check_listed(&storage, number));
        assert!(rows_on_disk(&storage) >= 2 * TABLE_ROWS);
    }
}

#[test]
fn tables_do_not_hide_that_the_log_behind_them_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    issue_all(&storage, LIMITED, 0..COUPONS);
    assert!(rows_on_disk(&storage) >= TABLE_ROWS);
    storage.close().unwrap();
    drop(storage);
    for file in std::fs::read_dir(dir.path().join("db")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            std::fs::write(&path, []).unwrap();
        }
    }
    assert!(matches!(Storage::open(dir.path()), Err(StorageError::Lost { .. })));
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
        let rows = storage.db().iterator_cf(storage.state(), rocksdb::IteratorMode::Start);
        rows.map(Result::unwrap).collect()
    };
    let before = state(&storage);
    for campaign in [LIMITED, UNLIMITED] {
        issue_all(&storage, campaign, 20..COUPONS);
    }
    assert!(rows_on_disk(&storage) >= 2 * TABLE_ROWS);
    let mut back = WriteBatch::default();
    back.delete_range_cf(storage.state(), &[][..], &[255; 9][..]);
    before.into_iter().for_each(|(key, value)| back.put_cf(storage.state(), key, value));
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
                [Outcome::CouponIssued { issued, replayed: true }] => {
                    assert_eq!(issued.sequence, number - 5_000 + 21);
                }
                other => panic!("{campaign} {number}: {other:?}"),
            }
        }
        // Nobody has heard of those that were given up.
        issue_all(&storage, campaign, 20..COUPONS);
    }
}

#[test]
fn two_ascending_sequences_become_one() {
    let merge = |left: &[u64], right: &[u64]| -> Vec<u64> {
        let left = left.iter().map(|one| Ok::<_, ()>(*one));
        merged(left, right.to_vec()).map(Result::unwrap).collect()
    };
    assert_eq!(merge(&[1, 3, 5], &[2, 3, 9]), [1, 2, 3, 5, 9]);
    assert_eq!(merge(&[], &[2]), [2]);
    assert_eq!(merge(&[7], &[]), [7]);
}
