//! What the ledger asks of its store: how often, and what it makes of a fault.

#![expect(clippy::unwrap_used, reason = "all of this is a test, also what is not marked as one")]

mod holds;
mod watched;

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, CodeScheme, Epoch, KeyId, RequestId, ShardId, TenantId};
use coupon_ledger::{
    Action, CODES_MAX, CodeNumber, Command, ConfirmHold, CreateCampaign, HoldCoupon, IMPORTS_MAX,
    ImportCodes, Issue, Ledger, LineRefusal, LogTime, MemoryStore, Outcome, Refusal, RefusedLine,
    ReleaseHold, ShardState, StateReader, Store, VoidCoupon,
};
use watched::{Fault, WatchedStore};

fn shard() -> ShardId {
    ShardId::new(1).unwrap()
}

fn request(number: u8) -> RequestId {
    RequestId::from_bytes(&[number; 16]).unwrap()
}

fn command(action: Action) -> Command {
    Command { epoch: Epoch(1), action }
}

fn adopt() -> Command {
    command(Action::AdoptRing { epoch: Epoch(1), ring_shards: vec![shard()] })
}

fn create(id: &str, per_recipient_limit: u32) -> Command {
    command(Action::CreateCampaign(CreateCampaign {
        name: CampaignName::new(&TenantId::default(), id).unwrap(),
        display_name: String::new(),
        quota: 3,
        start: None,
        end: None,
        per_recipient_limit,
        coupon_ttl_micros: None,
        labels: BTreeMap::new(),
        code_scheme: CodeScheme::default(),
        has_imported_codes: false,
        request_id: request(1),
        code_key: KeyId(1),
    }))
}

fn issue(id: &str, recipient: &str, request_number: u8) -> Command {
    command(Action::Issue(Issue {
        campaign: CampaignName::new(&TenantId::default(), id).unwrap(),
        recipient: recipient.to_owned(),
        request_id: request(request_number),
        metadata: BTreeMap::new(),
    }))
}

/// Holds a coupon, for ten microseconds.
fn hold(id: &str, recipient: &str, request_number: u8) -> Command {
    command(Action::HoldCoupon(HoldCoupon {
        campaign: CampaignName::new(&TenantId::default(), id).unwrap(),
        recipient: recipient.to_owned(),
        request_id: request(request_number),
        ttl_micros: 10,
    }))
}

fn confirm(id: &str, hold: u8, request_number: u8) -> Command {
    command(Action::ConfirmHold(ConfirmHold {
        campaign: CampaignName::new(&TenantId::default(), id).unwrap(),
        hold_id: request(hold),
        request_id: request(request_number),
        metadata: BTreeMap::new(),
    }))
}

fn release(id: &str, hold: u8, request_number: u8) -> Command {
    command(Action::ReleaseHold(ReleaseHold {
        campaign: CampaignName::new(&TenantId::default(), id).unwrap(),
        hold_id: request(hold),
        request_id: request(request_number),
    }))
}

/// Voids the coupon with a counter.
fn void(counter: u64, request_number: u8, return_quota: bool) -> Command {
    command(Action::VoidCoupon(VoidCoupon {
        code: CodeNumber {
            tenant: TenantId::default(),
            shard: shard(),
            key: KeyId(1),
            counter,
            scheme: CodeScheme::default(),
        }
        .into(),
        request_id: request(request_number),
        reason: String::new(),
        return_quota,
    }))
}

/// A store and its ledger after `commands`, its calls so far forgotten.
fn after(commands: Vec<Command>) -> (WatchedStore, Ledger) {
    let mut store = WatchedStore::default();
    let mut ledger = Ledger::open(shard(), &mut store).unwrap();
    ledger.apply(&mut store, LogTime(1), commands).unwrap();
    store.calls.clear();
    (store, ledger)
}

/// The calls that an entry makes.
fn calls(commands: Vec<Command>) -> Vec<&'static str> {
    let before = vec![adopt(), create("free", 0), create("fair", 1), issue("fair", "ann", 1)];
    let (mut store, mut ledger) = after(before);
    ledger.apply(&mut store, LogTime(2), commands).unwrap();
    store.calls
}

#[test]
fn an_entry_reads_a_campaign_once_and_puts_its_counters_once() {
    let commands = vec![issue("fair", "bob", 2), issue("fair", "eve", 3), issue("fair", "kim", 4)];
    let expected = [
        "campaign",
        "sequence_of_request",
        "sequences_at_limit",
        "insert_coupon",
        "sequence_of_request",
        "sequences_at_limit",
        "insert_coupon",
        // Sold out: nothing to insert.
        "sequence_of_request",
        "sequences_at_limit",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(calls(commands), expected);
}

#[test]
fn a_campaign_without_limit_costs_no_look_up_of_the_recipient() {
    let expected = [
        "campaign",
        "sequence_of_request",
        "put_block",
        "insert_coupon",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(calls(vec![issue("free", "bob", 2)]), expected);
}

#[test]
fn what_changes_nothing_writes_nothing_but_the_time() {
    let replay = ["campaign", "sequence_of_request", "coupon", "put_shard_state"];
    assert_eq!(calls(vec![issue("fair", "ann", 1)]), replay);
    assert_eq!(calls(vec![create("fair", 1)]), ["campaign", "put_shard_state"]);
    assert_eq!(calls(vec![issue("none", "ann", 1)]), ["campaign", "put_shard_state"]);
    let stale = Command { epoch: Epoch(0), ..issue("fair", "ann", 1) };
    assert_eq!(calls(vec![stale]), ["put_shard_state"]);
}

#[test]
fn a_change_of_a_coupon_looks_its_place_up_and_writes_its_history() {
    let expected = [
        "block",
        "campaign_of_number",
        "campaign",
        "coupon",
        "coupon_history",
        "put_coupon_history",
        "put_event",
        // Voided already.
        "block",
        "coupon",
        "coupon_history",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(calls(vec![void(0, 1, false), void(0, 2, false)]), expected);
    assert_eq!(calls(vec![void(u64::MAX, 1, false)]), ["block", "put_shard_state"]);
}

/// What was done with coupons costs an issue nothing. The store looks at it where a recipient was issued as many as the
/// limit, and quota was returned.
#[test]
fn issuing_costs_no_look_up_of_what_was_done_with_coupons() {
    let before = vec![
        adopt(),
        create("fair", 1),
        issue("fair", "ann", 1),
        issue("fair", "bob", 2),
        void(0, 1, true),
    ];
    let (mut store, mut ledger) = after(before);
    let commands = vec![issue("fair", "eve", 3), issue("fair", "ann", 4)];
    ledger.apply(&mut store, LogTime(2), commands).unwrap();
    let expected = [
        "campaign",
        "sequence_of_request",
        "sequences_at_limit",
        "insert_coupon",
        "sequence_of_request",
        "sequences_at_limit",
        "insert_coupon",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(store.calls, expected);
}

/// Skipping coupons that returned their quota has a bound.
#[test]
fn a_recipient_of_more_returned_coupons_than_are_skipped_is_at_the_limit() {
    let (mut store, mut ledger) = after(vec![adopt(), create("fair", 1)]);
    for number in 1..=33_u8 {
        let counter = u64::from(number) - 1;
        let commands = vec![issue("fair", "ann", number), void(counter, 1, true)];
        let outcomes = ledger.apply(&mut store, LogTime(2), commands).unwrap();
        assert!(
            matches!(
                outcomes[..],
                [Outcome::CouponIssued { .. }, Outcome::CouponChanged { replayed: false, .. }]
            ),
            "{number}: {outcomes:?}"
        );
    }
    let commands = vec![issue("fair", "ann", 200), issue("fair", "bob", 201)];
    let outcomes = ledger.apply(&mut store, LogTime(3), commands).unwrap();
    let [Outcome::Refused(Refusal::RecipientLimitReached { held, hold_ids, .. }), bob] =
        &outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    assert!(held.is_empty() && hold_ids.is_empty());
    assert!(matches!(bob, Outcome::CouponIssued { .. }));
}

/// Whichever call fails, no outcome comes of the entry.
#[test]
fn a_fault_never_becomes_an_outcome() {
    let commands = || {
        vec![
            create("new", 2),
            issue("new", "ann", 1),
            issue("new", "ann", 1),
            issue("new", "ann", 2),
            issue("new", "ann", 3),
            void(0, 4, true),
            issue("new", "ann", 5),
            hold("new", "bob", 6),
            hold("new", "bob", 7),
            confirm("new", 6, 8),
            release("new", 6, 9),
        ]
    };
    let (mut store, mut ledger) = after(vec![adopt()]);
    ledger.apply(&mut store, LogTime(2), commands()).unwrap();
    let all = store.calls.len();
    for healthy in 0..all {
        let (mut store, mut ledger) = after(vec![adopt()]);
        store.healthy_calls = Some(healthy);
        assert_eq!(ledger.apply(&mut store, LogTime(2), commands()), Err(Fault));
        // Nothing is tried after the first fault.
        assert_eq!(store.calls.len(), healthy + 1);
    }
}

#[test]
fn a_ledger_does_not_open_on_a_faulty_store() {
    let mut store = WatchedStore { healthy_calls: Some(0), ..WatchedStore::default() };
    assert_eq!(Ledger::open(shard(), &mut store).err(), Some(Fault));
}

/// A ledger whose shard has used up nearly all of its numbers.
fn nearly_full(state: ShardState) -> (MemoryStore, Ledger) {
    let mut store = MemoryStore::default();
    let ring_shards = vec![shard()];
    store.put_shard_state(&ShardState { epoch: Epoch(1), ring_shards, ..state }).unwrap();
    let ledger = Ledger::open(shard(), &mut store).unwrap();
    (store, ledger)
}

fn is_full(outcome: &Outcome) -> bool {
    *outcome == Outcome::Refused(Refusal::ShardFull)
}

#[test]
fn the_last_block_of_counters_is_used_and_none_twice() {
    let blocks = coupon_cluster::COUNTER_LIMIT / u64::from(coupon_ledger::BLOCK_SIZE);
    let state = ShardState { next_block: blocks - 1, ..ShardState::default() };
    let (mut store, mut ledger) = nearly_full(state);
    let commands = vec![
        create("one", 0),
        create("two", 0),
        issue("one", "", 1),
        issue("two", "", 1),
        issue("one", "", 2),
        issue("two", "", 1),
    ];
    let outcomes = ledger.apply(&mut store, LogTime(1), commands).unwrap();
    let full: Vec<_> = outcomes.iter().map(is_full).collect();
    assert_eq!(full, [false, false, false, true, false, true]);
    assert_eq!(ledger.state().next_block, blocks);
    assert_eq!(store.coupons(1).count(), 0);
}

#[test]
fn the_last_campaign_number_is_not_given_twice() {
    let state = ShardState { next_campaign_number: u32::MAX - 1, ..ShardState::default() };
    let (mut store, mut ledger) = nearly_full(state);
    let commands = vec![create("one", 0), create("two", 0), create("one", 0)];
    let outcomes = ledger.apply(&mut store, LogTime(1), commands).unwrap();
    let full: Vec<_> = outcomes.iter().map(is_full).collect();
    assert_eq!(full, [false, true, false]);
}

/// Imports codes from line 1 on into the campaign `gifts`.
fn import(import: u8, codes: &[&str]) -> Command {
    command(Action::ImportCodes(ImportCodes {
        campaign: CampaignName::new(&TenantId::default(), "gifts").unwrap(),
        import_id: request(import),
        first_line: 1,
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
    }))
}

fn create_gifts() -> Command {
    let Action::CreateCampaign(create) = create("gifts", 0).action else { unreachable!() };
    command(Action::CreateCampaign(CreateCampaign { has_imported_codes: true, ..create }))
}

/// A code is looked up once, whether it is new or not, and an import once a command. A coupon takes its code.
#[test]
fn a_code_costs_one_look_up() {
    let (mut store, mut ledger) = after(vec![adopt(), create_gifts()]);
    let mut calls = |commands: Vec<Command>| {
        store.calls.clear();
        ledger.apply(&mut store, LogTime(2), commands).unwrap();
        store.calls.clone()
    };
    let imported = [
        "campaign",
        "code_import",
        "imported_code",
        "put_imported_code",
        "imported_code",
        "put_code_import",
        "put_event",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(calls(vec![import(1, &["A", "", "A"])]), imported);
    let again = ["campaign", "code_import", "imported_code", "put_shard_state"];
    assert_eq!(calls(vec![import(1, &["A"])]), again);
    assert_eq!(calls(vec![import(9, &[])]), ["campaign", "code_import", "put_shard_state"]);
    let issued = [
        "campaign",
        "sequence_of_request",
        "put_block",
        "take_code",
        "insert_coupon",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(calls(vec![issue("gifts", "ann", 2)]), issued);
}

#[test]
fn a_campaign_with_as_many_codes_or_imports_as_it_may_have_takes_no_more() {
    let (mut store, mut ledger) = after(vec![adopt(), create_gifts(), import(1, &["A"])]);
    let name = CampaignName::new(&TenantId::default(), "gifts").unwrap();
    let mut campaign = store.inner.campaign(&name).unwrap().unwrap();
    campaign.counters.imported = CODES_MAX - 1;
    campaign.counters.imports = IMPORTS_MAX - 1;
    store.inner.put_campaign(&campaign).unwrap();
    let commands =
        vec![import(2, &["B", "A", "C"]), import(3, &["D"]), import(2, &["B", "A", "C"])];
    let outcomes = ledger.apply(&mut store, LogTime(2), commands).unwrap();
    let refused = vec![
        RefusedLine { line: 2, reason: LineRefusal::Duplicate { sequence: 1, line: None } },
        RefusedLine { line: 3, reason: LineRefusal::TooManyCodes },
    ];
    let imported = Outcome::CodesImported { next_line: 4, imported: 1, refused };
    assert_eq!(outcomes, [imported.clone(), Refusal::TooManyImports.into(), imported]);
}

#[test]
fn the_lines_of_an_import_do_not_change() {
    let commands = vec![adopt(), create_gifts(), import(1, &["A", "", "B"])];
    let (mut store, mut ledger) = after(commands);
    let again = vec![import(1, &["A", "C", "D", "C"]), import(1, &["A", "", "B", "C"])];
    let outcomes = ledger.apply(&mut store, LogTime(2), again).unwrap();
    let changed = |line| RefusedLine { line, reason: LineRefusal::Changed };
    let refused = vec![changed(2), changed(3)];
    let imported = |refused| Outcome::CodesImported { next_line: 5, imported: 3, refused };
    assert_eq!(outcomes, [imported(refused), imported(vec![])], "only line 4 is a new one");
}
