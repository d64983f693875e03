//! Ids of campaigns that are evenly spread over the shards.

use std::collections::BTreeMap;

use anyhow::Context as _;
use coupon_cluster::{CampaignName, Epoch, Ring, ShardId, TenantId};

use crate::systems::campaigns::new_id;

/// `per_shard` new ids for each of the shards from 1 to `shards`: the ring alone would give some shards more
/// campaigns than others, and with them more load.
///
/// # Errors
/// When there can be no such shards.
pub(super) fn spread_evenly(shards: u32, per_shard: usize) -> anyhow::Result<Vec<String>> {
    let shard_ids: Vec<ShardId> = (1..=shards).map(ShardId::new).collect::<Result<_, _>>()?;
    let ring = Ring::new(Epoch(1), shard_ids.iter().copied()).context("there are shards")?;
    let mut missing: BTreeMap<ShardId, usize> =
        shard_ids.into_iter().map(|shard| (shard, per_shard)).collect();
    let mut ids = Vec::new();
    while missing.values().any(|count| *count > 0) {
        let id = new_id();
        let owner = ring.owner(&CampaignName::new(&TenantId::default(), &id)?);
        if let Some(count) = missing.get_mut(&owner).filter(|count| **count > 0) {
            *count -= 1;
            ids.push(id);
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_owns_as_many_campaigns() {
        let ids = spread_evenly(8, 5).unwrap();
        assert_eq!(ids.len(), 40);
        let ring = Ring::new(Epoch(1), (1..=8).map(|id| ShardId::new(id).unwrap())).unwrap();
        let mut owned = BTreeMap::new();
        for id in &ids {
            let name = CampaignName::new(&TenantId::default(), id).unwrap();
            *owned.entry(ring.owner(&name)).or_default() += 1;
        }
        assert_eq!(owned.into_values().collect::<Vec<usize>>(), [5; 8]);
        assert!(spread_evenly(0, 1).is_err());
    }
}
