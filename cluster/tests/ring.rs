//! Where the ring puts campaigns: for ever the same, evenly, and moving as few as possible.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, Epoch, Ring, ShardId, TenantId};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Campaign of the tenant `default`, its shard on a ring of 4, its shard on a ring of 8. Computed by an independent
/// implementation of the documented format. If this test fails, the code is wrong, not the table:
/// with another placement, a new release looks for running campaigns on the wrong shards.
const PLACEMENTS: [(&str, u32, u32); 21] = [
    ("a", 1, 6),
    ("7", 1, 7),
    ("spring-2026", 4, 6),
    ("summer-2026", 2, 6),
    ("autumn-2026", 1, 1),
    ("winter-2026", 3, 3),
    ("black-friday", 3, 7),
    ("black-friday-2026", 1, 1),
    ("new-year", 4, 5),
    ("chuseok-2026", 3, 3),
    ("seollal-2027", 3, 6),
    ("welcome", 3, 3),
    ("first-order", 4, 8),
    ("birthday-0001", 2, 7),
    ("birthday-0002", 3, 7),
    ("birthday-0003", 4, 4),
    ("c1", 1, 8),
    ("c2", 2, 2),
    ("c3", 1, 6),
    ("z", 1, 6),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1, 1),
];

fn shard(id: u32) -> ShardId {
    ShardId::new(id).expect("tests name shards that can exist")
}

fn ring(shards: impl IntoIterator<Item = u32>) -> Ring {
    Ring::new(Epoch(1), shards.into_iter().map(shard)).expect("tests name at least one shard")
}

fn campaign(text: &str) -> CampaignName {
    CampaignName::new(&TenantId::default(), text).expect("tests name campaigns that can exist")
}

#[test]
fn placements_are_pinned_for_ever() {
    let (four, eight) = (ring(1..=4), ring(1..=8));
    for (text, at_four, at_eight) in PLACEMENTS {
        let id = campaign(text);
        assert_eq!(four.owner(&id), shard(at_four), "{text} among 4");
        assert_eq!(eight.owner(&id), shard(at_eight), "{text} among 8");
    }
}

/// The bound is four times the spread that 128 points a shard make one expect.
#[test]
fn shards_own_similar_numbers_of_campaigns() {
    const CAMPAIGNS: u32 = 100_000;
    for shards in [2, 3, 8, 32] {
        let ring = ring(1..=shards);
        let mut owned: BTreeMap<ShardId, u32> = BTreeMap::new();
        for number in 0..CAMPAIGNS {
            *owned.entry(ring.owner(&campaign(&format!("campaign-{number}")))).or_default() += 1;
        }
        assert_eq!(owned.len(), ring.shards().len());
        let fair = f64::from(CAMPAIGNS) / f64::from(shards);
        for (shard, count) in owned {
            let share = f64::from(count) / fair;
            assert!((0.65..1.35).contains(&share), "shard {shard} of {shards} has {share} shares");
        }
    }
}

#[test]
fn order_and_repetition_of_shards_do_not_matter() {
    let (one, other) = (ring([3, 1, 2, 1, 3]), ring([1, 2, 3]));
    assert_eq!(one.shards(), other.shards());
    for (text, ..) in PLACEMENTS {
        assert_eq!(one.owner(&campaign(text)), other.owner(&campaign(text)));
    }
}

#[test]
fn there_is_no_ring_without_shards() {
    assert!(Ring::new(Epoch(1), []).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(0x0072_696e_6701),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_new_shard_only_takes(
        before in proptest::collection::btree_set(1u32..=1023, 1..12),
        added in 1u32..=1023,
        names in proptest::collection::vec("[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", 100),
    ) {
        let old = ring(before.clone());
        let new = ring(before.into_iter().chain([added]));
        for name in names {
            let id = campaign(&name);
            let (from, to) = (old.owner(&id), new.owner(&id));
            prop_assert!(from == to || to == shard(added), "{} moved {} to {}", name, from, to);
            prop_assert!(old.shards().contains(&from));
        }
    }
}
