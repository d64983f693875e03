//! What holds cost, and that there are no more than there may be.

use coupon_cluster::{CampaignName, TenantId};
use coupon_ledger::{
    Action, Campaign, CampaignSpec, Command, HOLD_REMEMBERED_MICROS, HOLDS_KEPT_MAX,
    HOLDS_OPEN_MAX, HoldCoupon, HoldEnds, Ledger, LogTime, Outcome, PauseCampaign, Refusal,
    ShardState, StateReader, Store,
};

use crate::watched::WatchedStore;
use crate::{adopt, after, command, confirm, create, hold, issue, release, request, shard};

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
        "put_event",
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
