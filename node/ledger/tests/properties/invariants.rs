//! What must be true of a store after every entry, whatever the ledger answered.

use std::collections::{BTreeMap, BTreeSet};

use coupon_cluster::RequestId;
use coupon_ledger::{
    BLOCK_SIZE, Campaign, CampaignSpec, CampaignStage, Coupon, CouponState, Hold, HoldEnd,
    HoldState, LogTime, MemoryStore, StateReader,
};

/// Checks `after`, the state that an entry made of `before`.
pub(crate) fn check(before: &MemoryStore, after: &MemoryStore) {
    let mut counters = BTreeSet::new();
    for campaign in after.campaigns() {
        if campaign.spec.is_deleted() {
            assert_eq!(after.coupons(campaign.spec.number).count(), 0);
            assert_eq!(after.holds(campaign.spec.number).count(), 0);
            assert_eq!(after.events(campaign.spec.number).count(), 0);
            assert_eq!(after.imported_codes(campaign.spec.number).count(), 0);
            assert_eq!(after.pending_codes(campaign.spec.number).count(), 0);
            assert_eq!(after.code_imports(campaign.spec.number).count(), 0);
            continue;
        }
        let holds: BTreeMap<_, _> = after.holds(campaign.spec.number).collect();
        let coupons: Vec<_> = after.coupons(campaign.spec.number).collect();
        sequences_have_no_gaps(campaign, &coupons);
        times_follow_from_coupons(campaign, &coupons);
        let voided_and_returned = coupons_are_counted(after, campaign);
        quota_is_kept(campaign, &voided_and_returned);
        window_is_kept(campaign, &coupons, &holds);
        limit_is_kept(campaign, &coupons, &voided_and_returned, &open_holds(&holds, time(after)));
        holds_are_counted(campaign, &holds, time(after));
        holds_are_indexed(after, campaign.spec.number, &holds);
        confirmed_holds_are_coupons(&coupons, &holds);
        requests_have_one_coupon(&coupons);
        imported_codes_are_given_in_order(after, campaign, &coupons);
        blocks_lead_to_coupons(after, campaign, &coupons);
        revisions_are_coupons_and_events(after, campaign, &coupons);
        for (_, coupon) in &coupons {
            assert!(counters.insert(coupon.counter), "counter {} used twice", coupon.counter);
        }
    }
    numbers_lead_to_campaigns(after);
    coupons_stay(before, after);
    holds_end_once(before, after);
    assert_eq!(after.clone().shard_state().unwrap().holds, after.all_hold_ends().count() as u64);
    time_does_not_run_backwards(before, after);
}

fn sequences_have_no_gaps(campaign: &Campaign, coupons: &[(u64, &Coupon)]) {
    let sequences = coupons.iter().map(|(sequence, _)| *sequence);
    assert!(sequences.eq(1..=campaign.counters.issued));
}

/// The sequence numbers of the coupons that returned their quota.
fn coupons_are_counted(store: &MemoryStore, campaign: &Campaign) -> BTreeSet<u64> {
    let (mut redeemed, mut voided, mut returned) = (0, 0, BTreeSet::new());
    for (sequence, history) in store.histories(campaign.spec.number) {
        assert!((1..=campaign.counters.issued).contains(&sequence));
        match history.state() {
            CouponState::Issued => {}
            CouponState::Redeemed { .. } => redeemed += 1,
            CouponState::Voided { quota_returned, .. } => {
                voided += 1;
                if quota_returned {
                    returned.insert(sequence);
                }
            }
        }
    }
    let counters = campaign.counters;
    assert_eq!((counters.redeemed, counters.voided), (redeemed, voided));
    assert_eq!(counters.returned, returned.len() as u64);
    returned
}

fn quota_is_kept(campaign: &Campaign, returned: &BTreeSet<u64>) {
    let coupons = campaign.counters.issued - returned.len() as u64;
    assert!(coupons + campaign.counters.held <= campaign.spec.quota);
}

fn open_holds<'a>(holds: &BTreeMap<RequestId, &'a Hold>, now: LogTime) -> Vec<&'a Hold> {
    let is_open = |hold: &&Hold| hold.state == HoldState::Open && now < hold.expires_at;
    holds.values().copied().filter(is_open).collect()
}

/// The counters have all open holds, and of those that have expired only such as no command has come across yet.
fn holds_are_counted(campaign: &Campaign, holds: &BTreeMap<RequestId, &Hold>, now: LogTime) {
    let counters = campaign.counters;
    assert_eq!(counters.has_holds, !holds.is_empty());
    let open = open_holds(holds, now);
    let Some(ends) = counters.hold_ends else {
        assert_eq!((counters.held, open.len()), (0, 0));
        return;
    };
    assert!(counters.held > 0);
    assert!(open.iter().all(|hold| (ends.first..=ends.last).contains(&hold.expires_at)));
    let is_counted = |hold: &&&Hold| hold.state == HoldState::Open && ends.first <= hold.expires_at;
    assert_eq!(counters.held, holds.values().filter(is_counted).count() as u64);
}

fn holds_are_indexed(store: &MemoryStore, number: u32, holds: &BTreeMap<RequestId, &Hold>) {
    let ends = holds.iter().filter_map(|(hold_id, hold)| {
        Some(HoldEnd { at: hold.end()?, campaign_number: number, hold_id: *hold_id })
    });
    let ends: BTreeSet<_> = ends.collect();
    let all = store.all_hold_ends().copied();
    assert_eq!(ends, all.filter(|end| end.campaign_number == number).collect());
}

fn confirmed_holds_are_coupons(coupons: &[(u64, &Coupon)], holds: &BTreeMap<RequestId, &Hold>) {
    for (hold_id, hold) in holds {
        let mut of_hold = coupons.iter().filter(|(_, coupon)| coupon.request_id == *hold_id);
        let HoldState::Confirmed { at, sequence, .. } = hold.state else {
            assert!(of_hold.next().is_none());
            continue;
        };
        let (found, coupon) = of_hold.next().unwrap();
        assert_eq!((*found, coupon.issued_at), (sequence, at));
        assert_eq!(coupon.recipient, hold.recipient);
        assert!(at < hold.expires_at);
    }
}

/// A hold is confirmed or released once, and stays so.
fn holds_end_once(before: &MemoryStore, after: &MemoryStore) {
    let deleted = |number: u32| {
        after.campaigns().any(|one| one.spec.number == number && one.spec.is_deleted())
    };
    let numbers = before.campaigns().map(|campaign| campaign.spec.number);
    for number in numbers.filter(|number| !deleted(*number)) {
        let holds: BTreeMap<_, _> = after.holds(number).collect();
        for (hold_id, was) in before.holds(number) {
            let is = holds[&hold_id];
            assert!(was == is || was.state == HoldState::Open);
            assert_eq!(Hold { state: was.state, ..is.clone() }, *was);
        }
    }
}

fn times_follow_from_coupons(campaign: &Campaign, coupons: &[(u64, &Coupon)]) {
    let first = coupons.first().map(|(_, coupon)| coupon.issued_at);
    assert_eq!(campaign.counters.opened, first);
    let is_used_up = campaign.counters.quota_issued() == campaign.spec.quota;
    assert!(campaign.counters.sold_out.is_none() || is_used_up);
    assert!(campaign.counters.sold_out.is_some() || !is_used_up || coupons.is_empty());
}

fn window_is_kept(
    campaign: &Campaign,
    coupons: &[(u64, &Coupon)],
    holds: &BTreeMap<RequestId, &Hold>,
) {
    let mut last = LogTime(0);
    for (_, coupon) in coupons {
        let claimed_at =
            holds.get(&coupon.request_id).map_or(coupon.issued_at, |hold| hold.held_at);
        assert!(campaign.spec.start <= claimed_at);
        assert!(campaign.spec.end.is_none_or(|end| claimed_at < end));
        assert!(last <= coupon.issued_at);
        last = coupon.issued_at;
    }
}

fn limit_is_kept(
    campaign: &Campaign,
    coupons: &[(u64, &Coupon)],
    returned: &BTreeSet<u64>,
    open_holds: &[&Hold],
) {
    let limit = campaign.spec.per_recipient_limit;
    if limit == 0 {
        return;
    }
    let mut held = BTreeMap::new();
    for (sequence, coupon) in coupons {
        assert!(!coupon.recipient.is_empty());
        if returned.contains(sequence) {
            continue;
        }
        *held.entry(&coupon.recipient).or_insert(0) += 1;
    }
    for hold in open_holds {
        *held.entry(&hold.recipient).or_insert(0) += 1;
    }
    assert!(held.values().all(|held| *held <= limit));
}

/// Each code is there once, and the coupons have the first ones.
fn imported_codes_are_given_in_order(
    store: &MemoryStore,
    campaign: &Campaign,
    coupons: &[(u64, &Coupon)],
) {
    let (number, counters) = (campaign.spec.number, campaign.counters);
    let codes = store.imported_codes(number).map(|(code, imported)| (imported.sequence, code));
    let codes: BTreeMap<u64, &str> = codes.collect();
    assert_eq!(codes.len(), store.imported_codes(number).count());
    assert!(codes.keys().copied().eq(1..=counters.imported));
    let imported: u64 = store.code_imports(number).map(|import| import.imported).sum();
    assert_eq!(imported, counters.imported);
    let numbers: BTreeSet<u32> = store.code_imports(number).map(|import| import.number).collect();
    assert!(numbers.into_iter().eq(1..=counters.imports));
    let is_pending = |(sequence, _): &(u64, &str)| *sequence > counters.issued;
    let pending = codes.iter().map(|(sequence, code)| (*sequence, *code)).filter(is_pending);
    assert!(store.pending_codes(number).eq(pending));
    if campaign.spec.has_imported_codes {
        assert!(counters.issued + counters.held <= counters.imported);
    }
    for (sequence, coupon) in coupons {
        assert_eq!(coupon.imported_code.as_deref(), codes.get(sequence).copied());
    }
}

fn requests_have_one_coupon(coupons: &[(u64, &Coupon)]) {
    let requests: BTreeSet<_> = coupons.iter().map(|(_, coupon)| coupon.request_id).collect();
    assert_eq!(requests.len(), coupons.len());
}

fn blocks_lead_to_coupons(store: &MemoryStore, campaign: &Campaign, coupons: &[(u64, &Coupon)]) {
    let mut store = store.clone();
    for (sequence, coupon) in coupons {
        let size = u64::from(BLOCK_SIZE);
        let (number, first) =
            store.block(coupon.counter / size).unwrap().expect("the block is recorded");
        assert_eq!(number, campaign.spec.number);
        assert_eq!(*sequence, first + coupon.counter % size);
    }
}

/// Each revision is one change, and an event tells which coupon the revisions after it are.
fn revisions_are_coupons_and_events(
    store: &MemoryStore,
    campaign: &Campaign,
    coupons: &[(u64, &Coupon)],
) {
    let (mut issued, mut last) = (0, LogTime(0));
    let mut events = store.events(campaign.spec.number).peekable();
    for revision in 1..=campaign.counters.revision {
        let at = match events.next_if(|(made, _)| *made == revision) {
            Some((_, event)) => {
                assert_eq!(event.issued, issued);
                event.at
            }
            None => {
                let (sequence, coupon) = coupons[usize::try_from(issued).unwrap()];
                issued += 1;
                assert_eq!(sequence, issued);
                coupon.issued_at
            }
        };
        assert!(last <= at);
        last = at;
    }
    assert_eq!((issued, events.next()), (campaign.counters.issued, None));
}

fn numbers_lead_to_campaigns(store: &MemoryStore) {
    let mut store = store.clone();
    for campaign in store.clone().campaigns() {
        let found = store.campaign_of_number(campaign.spec.number).unwrap();
        assert_eq!(found.as_ref(), Some(campaign));
    }
    let next = store.shard_state().unwrap().next_campaign_number;
    assert_eq!(store.campaign_of_number(next).unwrap(), None);
}

/// Nothing that was given is ever changed or taken back, and a voided coupon stays voided, unless its campaign is
/// deleted.
fn coupons_stay(before: &MemoryStore, after: &MemoryStore) {
    for campaign in before.campaigns() {
        let same = after.campaigns().find(|other| other.spec.name == campaign.spec.name).unwrap();
        let (was, is) = (&campaign.spec, &same.spec);
        assert_eq!((was.number, was.created), (is.number, is.created));
        if is.is_deleted() {
            assert!(campaign.counters.issued <= same.counters.issued);
            assert_eq!(was == is, was.is_deleted());
            continue;
        }
        let number = campaign.spec.number;
        let histories: BTreeMap<_, _> = after.histories(number).collect();
        for (sequence, history) in before.histories(number) {
            let (was, is) = (history.state(), histories[&sequence].state());
            assert!(!matches!(was, CouponState::Voided { .. }) || was == is);
        }
        let still = after.coupons(number).take(before.coupons(number).count());
        assert!(before.coupons(number).eq(still));
        let unchanged = CampaignSpec {
            display_name: is.display_name.clone(),
            quota: is.quota,
            start: is.start,
            end: is.end,
            labels: is.labels.clone(),
            is_paused: is.is_paused,
            stage: is.stage,
            changes: is.changes.clone(),
            updated: is.updated,
            updated_revision: is.updated_revision,
            asked: is.asked.clone(),
            ..CampaignSpec::clone(was)
        };
        assert_eq!(unchanged, **is);
        let with_changes_of_is =
            CampaignSpec { changes: is.changes.clone(), ..was.as_ref().clone() };
        if with_changes_of_is == **is {
            assert_eq!(was.etag(), is.etag());
        } else {
            assert_ne!(was.etag(), is.etag());
            assert!(was.updated <= is.updated && is.updated_revision <= same.counters.revision);
            assert!(campaign.counters.revision < same.counters.revision);
        }
        let has_ended = was.end.is_some_and(|end| end <= time(before));
        assert!(!has_ended || (was.start, was.end, was.quota) == (is.start, is.end, is.quota));
        assert!(time(before) < was.start || was.start == is.start);
        assert!(is.stage == CampaignStage::InUse || is.end.is_some_and(|end| end <= time(after)));
        assert!(was.stage == CampaignStage::InUse || with_changes_of_is == **is);
        assert!(campaign.counters.revision <= same.counters.revision);
    }
}

fn time_does_not_run_backwards(before: &MemoryStore, after: &MemoryStore) {
    assert!(time(before) <= time(after));
}

fn time(store: &MemoryStore) -> LogTime {
    store.clone().shard_state().unwrap().log_time
}
