//! Moves a shard's state from a replica, through a backup, to the replicas of another cluster.

#![expect(clippy::unwrap_used, reason = "all of this is a test, also what is not marked as one")]

use std::path::{Path, PathBuf};

use coupon_cluster::{
    CampaignName, CodeScheme, Epoch, KeyId, ReplicaId, RequestId, ShardId, StateDigest, TenantId,
};
use coupon_ledger::{
    Action, BLOCKS_SKIPPED, CAMPAIGN_NUMBERS_SKIPPED, CodeNumber, Command, ConfirmHold,
    CouponState, CreateCampaign, HoldCoupon, Issue, Ledger, LogTime, Outcome, RedeemCoupon,
};
use coupon_node::raft::state_machine::StateMachine;
use coupon_node::storage::backup::inspect;
use coupon_node::storage::digest::Digest;
use coupon_node::storage::keys::{LogKeys, StateKeys};
use coupon_node::storage::ledger::{LedgerBatch, running_digest};
use coupon_node::storage::restore::{StageError, Staging, install};
use coupon_node::storage::snapshot::{self, ReplicaKey, digest, generation};
use coupon_node::storage::view::{CouponPlace, LedgerView};
use coupon_node::storage::{Storage, StorageError};
use coupon_proto::internal as pb;
use openraft::storage::RaftStateMachine as _;
use tempfile::TempDir;

/// Number of coupons in the backup.
const COUPONS: u8 = 100;

fn shard() -> ShardId {
    ShardId::new(1).unwrap()
}

fn replica_key(replica: u64) -> ReplicaKey {
    ReplicaKey { shard: shard(), replica: ReplicaId(replica) }
}

fn name(id: &str) -> CampaignName {
    CampaignName::new(&TenantId::default(), id).unwrap()
}

fn campaign() -> CampaignName {
    name("spring")
}

fn membership() -> pb::Membership {
    let members = (1..=3).map(|id| pb::Member { replica_id: id, node_id: id });
    let voters = pb::VoterSet { replica_ids: vec![1, 2, 3] };
    pb::Membership { configs: vec![voters], members: members.collect() }
}

/// Applies commands to the state of a generation, as a state machine does.
fn apply(storage: &Storage, generation: u32, actions: Vec<Action>) -> Vec<Outcome> {
    let keys = StateKeys::new(shard(), generation);
    let mut batch =
        LedgerBatch::new(storage, keys, running_digest(storage, &keys).unwrap()).unwrap();
    let mut ledger = Ledger::open(shard(), &mut batch).unwrap();
    let epoch = ledger.state().epoch;
    let commands = actions.into_iter().map(|action| Command { epoch, action }).collect();
    let outcomes = ledger.apply(&mut batch, LogTime(1_000), commands).unwrap();
    storage.write(batch.finish().0).unwrap();
    outcomes
}

fn issue(number: u8) -> Action {
    Action::Issue(Issue {
        campaign: campaign(),
        recipient: format!("recipient-{number}"),
        request_id: RequestId::from_bytes(&[number + 1; 16]).unwrap(),
        metadata: Default::default(),
    })
}

/// Redeems the coupon with a counter, which is the number of its issue.
fn redeem(counter: u64) -> Action {
    Action::RedeemCoupon(RedeemCoupon {
        code: CodeNumber {
            tenant: TenantId::default(),
            shard: shard(),
            key: KeyId(1),
            counter,
            scheme: CodeScheme::default(),
        }
        .into(),
        request_id: RequestId::from_bytes(&[200; 16]).unwrap(),
        order_ref: "order".into(),
    })
}

/// Holds a coupon, under an id of its own.
fn hold() -> Action {
    Action::HoldCoupon(HoldCoupon {
        campaign: campaign(),
        recipient: "holder".into(),
        request_id: RequestId::from_bytes(&[201; 16]).unwrap(),
        ttl_micros: 1_000_000,
    })
}

fn confirm() -> Action {
    Action::ConfirmHold(ConfirmHold {
        campaign: campaign(),
        hold_id: RequestId::from_bytes(&[201; 16]).unwrap(),
        request_id: RequestId::from_bytes(&[202; 16]).unwrap(),
        metadata: Default::default(),
    })
}

fn adopt(epoch: u64) -> Action {
    Action::AdoptRing { epoch: Epoch(epoch), ring_shards: vec![shard()] }
}

fn create(name: CampaignName) -> Action {
    Action::CreateCampaign(CreateCampaign {
        name,
        display_name: String::new(),
        quota: 1_000,
        start: None,
        end: None,
        per_recipient_limit: 1,
        coupon_ttl_micros: None,
        labels: Default::default(),
        request_id: RequestId::from_bytes(&[255; 16]).unwrap(),
        code_key: KeyId(1),
        code_scheme: CodeScheme::default(),
        has_imported_codes: false,
    })
}

/// A backup of a shard with one campaign, and the state it holds.
fn backup(dir: &Path) -> (PathBuf, StateDigest) {
    let storage = Storage::open(&dir.join("old")).unwrap();
    apply(&storage, 0, vec![adopt(1)]);
    apply(&storage, 0, vec![create(campaign())]);
    apply(&storage, 0, (0..COUPONS).map(issue).collect());
    apply(&storage, 0, vec![redeem(7), redeem(8), hold()]);
    let mut bytes = Vec::new();
    snapshot::write(&storage, replica_key(7), &mut bytes).unwrap();
    storage.close().unwrap();
    let path = dir.join("backup");
    std::fs::write(&path, bytes).unwrap();
    let found = inspect(&path, shard()).unwrap();
    assert_eq!((found.campaigns, found.coupons), (1, COUPONS.into()));
    assert_eq!(found.shard.log_time, LogTime(1_000));
    (path, found.state)
}

/// A node that is in no cluster yet.
struct Node {
    dir: TempDir,
    storage: Storage,
    staging: Staging,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).unwrap();
        let staging = Staging::new(dir.path());
        Self { dir, storage, staging }
    }

    fn receive(&self, file: &[u8], state: &StateDigest) -> Result<(), StageError> {
        let path = self.staging.incoming_path().unwrap();
        std::fs::write(&path, file).unwrap();
        self.staging.keep(&path, shard(), state)
    }

    fn install(&self, replica: u64, state: &StateDigest) -> Result<(), StorageError> {
        install(&self.storage, &self.staging, replica_key(replica), state, membership())
    }

    fn generation(&self, replica: u64) -> u32 {
        generation(&self.storage, &LogKeys::new(shard(), ReplicaId(replica))).unwrap()
    }
}

#[test]
fn replicas_begin_alike_with_what_is_in_the_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (file, state) = backup(dir.path());
    let bytes = std::fs::read(&file).unwrap();
    let nodes = [Node::new(), Node::new()];
    let mut digests = Vec::new();
    for (replica, node) in (1..).zip(&nodes) {
        node.receive(&bytes, &state).unwrap();
        assert_eq!(node.staging.list().unwrap(), [(shard(), state)]);
        node.install(replica, &state).unwrap();
        digests.push((
            digest(&node.storage, replica_key(replica)).unwrap().hex,
            running_digest(&node.storage, &StateKeys::new(shard(), 1)).unwrap(),
        ));
        let view = LedgerView::new(&node.storage, shard(), ReplicaId(replica)).unwrap();
        let found = view.campaign(&campaign()).unwrap().unwrap();
        assert_eq!((found.counters.issued, found.counters.redeemed), (COUPONS.into(), 2));
        let coupons = view.coupons_after(&found, 5).map(Result::unwrap);
        let redeemed = coupons.filter(|one| matches!(one.state, CouponState::Redeemed { .. }));
        assert_eq!(redeemed.map(|one| one.sequence).collect::<Vec<_>>(), [8, 9]);
        let held = view.claimed_by("recipient-8", CouponPlace::default(), 10).unwrap();
        assert_eq!(held, [CouponPlace { campaign_number: found.spec.number, sequence: 9 }]);
        let ninth = view.coupon_of(&found, 9).unwrap().unwrap();
        assert_eq!(view.held(&found, 9, "recipient-8").unwrap(), Some(ninth));
        let shard_state = view.shard_state().unwrap();
        let next = 1 + BLOCKS_SKIPPED;
        assert_eq!((shard_state.first_block, shard_state.next_block), (next, next));
        assert_eq!(shard_state.log_time, LogTime(1_000));
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0].1, Digest::default());

    // A retry is answered the same, and what is new has a counter far away.
    let node = &nodes[0];
    apply(&node.storage, 1, vec![adopt(2)]);
    let outcomes = apply(&node.storage, 1, vec![issue(0), issue(COUPONS)]);
    let counters: Vec<(u64, bool)> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::CouponIssued { issued, replayed, .. } => (issued.coupon.counter, *replayed),
            Outcome::CampaignCreated { .. }
            | Outcome::CampaignChanged { .. }
            | Outcome::CouponChanged { .. }
            | Outcome::HoldChanged { .. }
            | Outcome::HoldConfirmed { .. }
            | Outcome::CodesImported { .. }
            | Outcome::CampaignDeleted { .. }
            | Outcome::RingAdopted { .. }
            | Outcome::CountersSkipped
            | Outcome::Refused(_) => panic!("{outcome:?}"),
        })
        .collect();
    assert_eq!(counters, [(0, true), ((1 + BLOCKS_SKIPPED) << 16, false)]);

    // What was held is held, and becomes a coupon.
    let outcomes = apply(&node.storage, 1, vec![hold(), confirm()]);
    assert!(matches!(outcomes[0], Outcome::HoldChanged { replayed: true, .. }), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::HoldConfirmed { replayed: false, .. }), "{outcomes:?}");

    // So has a new campaign, in case the number after the last was given since the backup.
    apply(&node.storage, 1, vec![create(name("summer"))]);
    let view = LedgerView::new(&node.storage, shard(), ReplicaId(1)).unwrap();
    let named = |number| {
        let found = view.campaign_of_number(number).unwrap();
        found.map(|campaign| campaign.spec.name.clone())
    };
    assert_eq!(named(0), Some(campaign()));
    assert_eq!(named(1), None);
    assert_eq!(named(1 + CAMPAIGN_NUMBERS_SKIPPED), Some(name("summer")));

    // Once begun it is never begun again.
    node.install(1, &state).unwrap();
    let view = LedgerView::new(&node.storage, shard(), ReplicaId(1)).unwrap();
    let found = view.campaign(&campaign()).unwrap().unwrap();
    assert_eq!(found.counters.issued, u64::from(COUPONS) + 2);
}

#[tokio::test]
async fn a_restored_replica_is_past_the_first_entry_and_has_a_snapshot_to_send() {
    let dir = tempfile::tempdir().unwrap();
    let (file, state) = backup(dir.path());
    let node = Node::new();
    node.receive(&std::fs::read(&file).unwrap(), &state).unwrap();
    node.install(1, &state).unwrap();
    let mut machine = StateMachine::open_ledger(node.storage.clone(), replica_key(1)).unwrap();
    let (applied, membership) = machine.applied_state().await.unwrap();
    assert_eq!(applied.unwrap().index, 0);
    assert_eq!(membership.voter_ids().collect::<Vec<_>>(), [1, 2, 3]);
    let current = machine.get_current_snapshot().await.unwrap().expect("the log before it is gone");
    assert_eq!(current.meta.last_log_id, applied);
    assert_eq!(current.meta.last_membership, membership);
    let sent = dir.path().join("sent");
    let out = std::fs::File::create(&sent).unwrap();
    snapshot::write(&node.storage, replica_key(1), out).unwrap();
    assert_eq!(inspect(&sent, shard()).unwrap().coupons, COUPONS.into());
}

#[test]
fn a_state_that_is_damaged_or_another_one_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (file, state) = backup(dir.path());
    let bytes = std::fs::read(&file).unwrap();
    let node = Node::new();
    for place in (0..bytes.len()).step_by(17) {
        let mut bad = bytes.clone();
        bad[place] ^= 16;
        assert!(node.receive(&bad, &state).is_err(), "byte {place}");
    }
    for length in (0..bytes.len()).step_by(17) {
        assert!(node.receive(&bytes[..length], &state).is_err(), "{length} bytes");
    }
    let other = node.receive(&bytes, &[0; 32]).unwrap_err();
    assert!(matches!(other, StageError::OtherState(_)), "{other}");
    assert_eq!(node.staging.list().unwrap(), []);
}

#[test]
fn an_initial_replica_without_its_state_does_not_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (file, state) = backup(dir.path());
    let bytes = std::fs::read(&file).unwrap();
    let node = Node::new();
    let missing = node.install(1, &state).unwrap_err().to_string();
    assert!(missing.contains("is not there"), "{missing}");

    // Damaged after it was checked: at any place, so that some rows were written already.
    node.receive(&bytes, &state).unwrap();
    let kept = std::fs::read_dir(node.dir.path().join("restore")).unwrap();
    let kept: Vec<PathBuf> = kept.map(|entry| entry.unwrap().path()).collect();
    let kept = kept.iter().find(|path| path.extension().is_some_and(|end| end == "state")).unwrap();
    for place in [20, bytes.len() / 2, bytes.len() - 5] {
        let mut bad = bytes.clone();
        bad[place] ^= 1;
        std::fs::write(kept, bad).unwrap();
        assert!(node.install(1, &state).is_err());
        assert_eq!(node.generation(1), 0);
    }
    std::fs::write(kept, &bytes).unwrap();
    node.install(1, &state).unwrap();
    assert_eq!(node.generation(1), 1);
    node.staging.clear().unwrap();
    node.staging.clear().unwrap();
    assert_eq!(node.staging.list().unwrap(), []);
}
