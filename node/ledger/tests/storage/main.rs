//! What the ledger asks of its store: how often, and what it makes of a fault.

#![expect(clippy::unwrap_used, reason = "all of this is a test, also what is not marked as one")]

mod watched;

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, CodeScheme, Epoch, KeyId, RequestId, ShardId, TenantId};
use coupon_ledger::{
    Action, Campaign, CampaignSpec, CodeNumber, Command, ConfirmHold, CreateCampaign,
    HOLD_REMEMBERED_MICROS, HOLDS_KEPT_MAX, HOLDS_OPEN_MAX, HoldCoupon, HoldEnds, Issue, Ledger,
    LogTime, MemoryStore, Outcome, PauseCampaign, Refusal, ReleaseHold, ShardState, StateReader,
    Store, VoidCoupon,
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
        },
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

/// A hold is looked up by its id, and by its recipient where there is a limit. Holds that may have expired are counted
/// once, and not looked at where none can have, or all have.
#[test]
fn holds_cost_what_a_coupon_costs() {
    let before = vec![adopt(), create("fair", 1), hold("fair", "ann", 1), hold("fair", "bob", 2)];
    let (mut store, mut ledger) = after(before);
    let mut calls = |time: u64, commands: Vec<Command>| {
        store.calls.clear();
        ledger.apply(&mut store, LogTime(time), commands).unwrap();
        store.calls.clone()
    };
    let confirmed = [
        "campaign",
        "hold",
        "put_block",
        "insert_coupon",
        "put_hold",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(calls(2, vec![confirm("fair", 1, 3)]), confirmed);
    let held = [
        "campaign",
        "hold",
        "sequence_of_request",
        "open_holds_of",
        "sequences_at_limit",
        "put_hold",
        "put_counters",
        "put_shard_state",
    ];
    assert_eq!(calls(3, vec![hold("fair", "eve", 4)]), held);
    // That of bob may have expired by now; that of eve has not.
    let counted = ["campaign", "hold_ends", "hold", "put_counters", "put_shard_state"];
    assert_eq!(calls(11, vec![confirm("fair", 9, 5)]), counted);
    assert_eq!(calls(12, vec![confirm("fair", 9, 5)]), ["campaign", "hold", "put_shard_state"]);
    let all_expired = ["campaign", "hold", "put_counters", "put_shard_state"];
    assert_eq!(calls(13, vec![confirm("fair", 9, 5)]), all_expired);
}

/// A campaign with as many holds, all of which expire in a millisecond but for the last one.
fn with_holds(count: u8) -> (WatchedStore, Ledger) {
    let (mut store, mut ledger) = after(vec![adopt(), create("free", 0)]);
    let campaign = free(&mut store);
    let spec = CampaignSpec { quota: u64::from(count), ..CampaignSpec::clone(&campaign.spec) };
    store.inner.put_campaign(&Campaign { spec: spec.into(), ..campaign }).unwrap();
    for number in 1..=count {
        let hold = HoldCoupon {
            campaign: CampaignName::new(&TenantId::default(), "free").unwrap(),
            recipient: String::new(),
            request_id: request(number),
            ttl_micros: if number == count { u64::MAX } else { 1_000 },
        };
        let commands = vec![command(Action::HoldCoupon(hold))];
        ledger.apply(&mut store, LogTime(number.into()), commands).unwrap();
    }
    assert_eq!((free(&mut store).counters.held, store.ends_counted), (count.into(), 0));
    (store, ledger)
}

fn free(store: &mut WatchedStore) -> Campaign {
    let name = CampaignName::new(&TenantId::default(), "free").unwrap();
    store.inner.campaign(&name).unwrap().unwrap()
}

/// However many holds have expired, one more or less makes no difference to a request for a coupon.
#[test]
fn a_command_counts_few_of_many_expired_holds() {
    let (mut store, mut ledger) = with_holds(200);
    let later = LogTime(5_000);
    let asked = issue("free", "ann", 201);
    assert_eq!(ledger.outcome_without_effect(&mut store, later, later, &asked).unwrap(), None);
    assert_eq!(std::mem::take(&mut store.ends_counted), 64);
    let issued = ledger.apply(&mut store, later, vec![asked]).unwrap().remove(0);
    assert!(matches!(issued, Outcome::CouponIssued { .. }), "{issued:?}");
    assert_eq!((free(&mut store).counters.held, store.ends_counted), (200 - 64, 64));
    let mut counted = Vec::new();
    for _ in 0..3 {
        store.ends_counted = 0;
        ledger.apply(&mut store, later, vec![confirm("free", 250, 251)]).unwrap();
        counted.push(store.ends_counted);
    }
    assert_eq!(counted, [64, 64, 7]);
    assert_eq!(free(&mut store).counters.held, 1);
}

#[test]
fn what_shows_the_number_of_holds_counts_them_all() {
    let (mut store, mut ledger) = with_holds(200);
    let campaign = CampaignName::new(&TenantId::default(), "free").unwrap();
    let pause = PauseCampaign { campaign, request_id: request(201) };
    let commands = vec![command(Action::PauseCampaign(pause))];
    let outcome = ledger.apply(&mut store, LogTime(5_000), commands).unwrap().remove(0);
    let Outcome::CampaignChanged { campaign, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((campaign.counters.held, free(&mut store).counters.held), (1, 1));
}

#[test]
fn a_campaign_with_as_many_open_holds_as_it_may_have_makes_no_more() {
    let (mut store, mut ledger) = after(vec![adopt(), create("free", 0), hold("free", "", 1)]);
    let name = CampaignName::new(&TenantId::default(), "free").unwrap();
    let mut campaign = store.inner.campaign(&name).unwrap().unwrap();
    campaign.counters.held = HOLDS_OPEN_MAX;
    let quota = u64::MAX;
    campaign.spec = CampaignSpec { quota, ..CampaignSpec::clone(&campaign.spec) }.into();
    store.inner.put_campaign(&campaign).unwrap();
    let commands = vec![hold("free", "", 2), release("free", 1, 3), hold("free", "", 2)];
    let outcomes = ledger.apply(&mut store, LogTime(2), commands).unwrap();
    let (until, now) = (LogTime(11), LogTime(2));
    assert_eq!(outcomes[0], Refusal::TooManyHolds { until, now }.into());
    assert!(matches!(outcomes[2], Outcome::HoldChanged { replayed: false, .. }), "{outcomes:?}");
    assert_eq!(campaign.counters.hold_ends, Some(HoldEnds { first: until, last: until }));
}

/// Each new hold makes a shard forget some that ended long ago, or at all if there are too many, of whatever campaign.
#[test]
fn holds_that_ended_are_forgotten() {
    let commands = vec![adopt(), create("old", 0), hold("old", "ann", 1), create("new", 0)];
    let (mut store, mut ledger) = after(commands);
    let mut apply = |store: &mut WatchedStore, time: u64, command: Command| {
        ledger.apply(store, LogTime(time), vec![command]).unwrap().remove(0)
    };
    let day = HOLD_REMEMBERED_MICROS;
    apply(&mut store, 10 + day, hold("new", "", 2));
    assert_eq!(store.inner.all_hold_ends().count(), 2);
    // The hold of the campaign `old` ended at 11.
    apply(&mut store, 11 + day, hold("new", "", 3));
    assert_eq!(store.inner.all_hold_ends().count(), 2);
    assert_eq!(store.inner.shard_state().unwrap().holds, 2);
    let gone = apply(&mut store, 11 + day, confirm("old", 1, 9));
    assert_eq!(gone, Refusal::HoldNotFound.into());
    assert_eq!(store.inner.holds(0).count(), 0);
    // What is open is not forgotten, however many there are.
    let full = |store: &mut WatchedStore| {
        let state = store.inner.shard_state().unwrap();
        store.inner.put_shard_state(&ShardState { holds: HOLDS_KEPT_MAX, ..state }).unwrap();
        Ledger::open(shard(), store).unwrap()
    };
    let mut ledger = full(&mut store);
    let mut apply = |store: &mut WatchedStore, time: u64, command: Command| {
        ledger.apply(store, LogTime(time), vec![command]).unwrap().remove(0)
    };
    let refused = apply(&mut store, 12 + day, hold("old", "", 4));
    let (until, now) = (LogTime(20 + day), LogTime(12 + day));
    assert_eq!(refused, Refusal::TooManyHolds { until, now }.into());
    // One of the campaign `new` is over, and makes room.
    let held = apply(&mut store, 20 + day, hold("old", "", 4));
    assert!(matches!(held, Outcome::HoldChanged { replayed: false, .. }), "{held:?}");
    let name = CampaignName::new(&TenantId::default(), "new").unwrap();
    assert_eq!(store.inner.campaign(&name).unwrap().unwrap().counters.held, 1);
    assert_eq!(store.inner.shard_state().unwrap().holds, HOLDS_KEPT_MAX);
    assert_eq!(apply(&mut store, 20 + day, confirm("new", 2, 9)), Refusal::HoldNotFound.into());
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
