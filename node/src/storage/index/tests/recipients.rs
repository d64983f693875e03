//! What recipients hold over all campaigns: all of it, in order, and at a cost that does not grow with the campaigns.

use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

use super::*;

const ALICE: &str = "alice";

fn campaign_id(number: u32) -> String {
    format!("c{number}")
}

fn issue_to(recipient: &str, campaign: u32, number: u64) -> Action {
    Action::Issue(Issue {
        campaign: CampaignName::new(&TenantId::default(), &campaign_id(campaign)).unwrap(),
        recipient: recipient.to_owned(),
        request_id: request(number),
        metadata: Default::default(),
    })
}

/// What a recipient holds, in pages of `max` places, as campaign numbers and sequence numbers.
fn held(view: &LedgerView<'_>, recipient: &str, max: usize) -> Vec<(u32, u64)> {
    let (mut found, mut after) = (Vec::new(), CouponPlace::default());
    loop {
        let places = view.claimed_by(recipient, after, max).unwrap();
        assert!(places.iter().all(|place| *place > after) && places.is_sorted());
        let Some(last) = places.last() else { return found };
        after = *last;
        for place in places {
            let campaign = view.campaign_of_number(place.campaign_number).unwrap().unwrap();
            let held = view.held(&campaign, place.sequence, recipient).unwrap();
            found.extend(held.map(|held| (campaign.spec.number, held.sequence)));
        }
    }
}

fn view(storage: &Storage) -> LedgerView<'_> {
    LedgerView::new(storage, shard(), ReplicaId(1)).unwrap()
}

#[test]
fn pages_of_what_a_recipient_holds_are_whole_and_in_order() {
    const CAMPAIGNS: u32 = 7;
    const RECIPIENTS: u64 = 5;
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    apply(&storage, (0..CAMPAIGNS).map(|number| create(&campaign_id(number), 0)));
    let mut expected = vec![Vec::new(); RECIPIENTS as usize];
    let mut issued = [0; CAMPAIGNS as usize];
    // In no order, as callers come (SplitMix64).
    for number in 0..COUPONS {
        let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
        let (campaign, recipient) = (mixed as u32 % CAMPAIGNS, mixed / 64 % RECIPIENTS);
        let name = format!("recipient-{recipient}");
        apply(&storage, [issue_to(&name, campaign, number)]);
        issued[campaign as usize] += 1;
        // Two campaigns are there already.
        expected[recipient as usize].push((campaign + 2, issued[campaign as usize]));
    }
    assert!(claims_on_disk(&storage) >= 8 * TABLE_CLAIMS);
    expected.iter_mut().for_each(|held| held.sort_unstable());
    let check = |storage: &Storage| {
        for (recipient, expected) in expected.iter().enumerate() {
            for max in [1, 3, 1_000] {
                assert_eq!(held(&view(storage), &format!("recipient-{recipient}"), max), *expected);
            }
        }
        assert_eq!(held(&view(storage), "nobody", 10), []);
    };
    check(&storage);
    check(&reopened(storage, dir.path()));
}

#[test]
fn a_place_is_followed_by_the_next_campaign() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    issue_all(&storage, LIMITED, 0..2);
    issue_all(&storage, UNLIMITED, 0..2);
    let view = view(&storage);
    let after = |campaign_number, sequence| {
        let after = CouponPlace { campaign_number, sequence };
        let places = view.claimed_by("recipient-0", after, 10).unwrap().into_iter();
        places.map(|place| (place.campaign_number, place.sequence)).collect::<Vec<_>>()
    };
    assert_eq!(after(0, 1), [(0, 2), (1, 1), (1, 2)]);
    for whole in [2, u64::from(u32::MAX) - 1, u32::MAX.into(), u64::MAX] {
        assert_eq!(after(0, whole), [(1, 1), (1, 2)], "{whole}");
    }
    assert_eq!(after(u32::MAX, u64::MAX), []);
}

/// Counts what is looked for in RocksDB, by key and by iterator.
fn look_ups(look: impl FnOnce()) -> u64 {
    set_perf_stats(PerfStatsLevel::EnableCount);
    let mut context = PerfContext::default();
    context.reset();
    look();
    let counted = [PerfMetric::GetFromMemtableCount, PerfMetric::SeekOnMemtableCount];
    let count = counted.map(|metric| context.metric(metric)).iter().sum();
    set_perf_stats(PerfStatsLevel::Disable);
    count
}

#[test]
fn the_cost_of_a_list_follows_what_the_recipient_holds_and_not_the_campaigns() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let mut number = 0;
    let mut more_campaigns = |campaigns: std::ops::Range<u32>| {
        for campaign in campaigns {
            number += 1;
            let other = issue_to(&format!("other-{campaign}"), campaign, number);
            apply(&storage, [create(&campaign_id(campaign), 0), other]);
        }
    };
    more_campaigns(0..20);
    let hers = [3, 3, 11, 17].into_iter().zip(1_000_000..);
    apply(&storage, hers.map(|(campaign, number)| issue_to(ALICE, campaign, number)));
    let list = || {
        let mut found = Vec::new();
        let count = look_ups(|| found = held(&view(&storage), ALICE, 100));
        assert_eq!(found.len(), 4);
        count
    };
    let few = list();
    assert!(few > 4, "look-ups are counted: {few}");
    more_campaigns(20..1_000);
    assert_eq!(list(), few);

    // More of hers cost more.
    apply(&storage, (0..4).map(|more| issue_to(ALICE, more, 2_000_000 + u64::from(more))));
    let mut found = Vec::new();
    let more = look_ups(|| found = held(&view(&storage), ALICE, 100));
    assert_eq!(found.len(), 8);
    assert!((few + 4..=3 * few).contains(&more), "{few}, then {more}");
}
