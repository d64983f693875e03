//! Which shard of a cluster owns which campaign.

use std::collections::BTreeMap;

use anyhow::Context as _;
use coupon_cluster::{CampaignName, Epoch, Ring, ShardId, TenantId};

use crate::systems::campaigns::new_id;

/// The ring of a cluster that has the shards it was formed with.
#[derive(Debug)]
pub(crate) struct Placement {
    ring: Ring,
}

impl Placement {
    /// That of the shards from 1 to `shards`.
    ///
    /// # Errors
    /// When there can be no such shards.
    pub(crate) fn of(shards: u32) -> anyhow::Result<Self> {
        let shards: Vec<ShardId> = (1..=shards).map(ShardId::new).collect::<Result<_, _>>()?;
        Ok(Self { ring: Ring::new(Epoch(1), shards).context("there are shards")? })
    }

    /// The shard that owns a campaign.
    pub(crate) fn shard(&self, campaign_id: &str) -> anyhow::Result<ShardId> {
        Ok(self.ring.owner(&CampaignName::new(&TenantId::default(), campaign_id)?))
    }

    /// `per_shard` new ids for each shard but the first, whose node has the meta shard. The ring alone would give
    /// some shards more campaigns than others, and with them more load.
    pub(crate) fn new_ids_beyond_first(&self, per_shard: usize) -> anyhow::Result<Vec<String>> {
        let mut missing: BTreeMap<ShardId, usize> =
            self.ring.shards().iter().skip(1).map(|shard| (*shard, per_shard)).collect();
        let mut ids = Vec::new();
        while missing.values().any(|count| *count > 0) {
            let id = new_id();
            let owner = self.shard(&id)?;
            if let Some(count) = missing.get_mut(&owner).filter(|count| **count > 0) {
                *count -= 1;
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_but_the_first_owns_as_many_campaigns() {
        let placement = Placement::of(9).unwrap();
        let ids = placement.new_ids_beyond_first(5).unwrap();
        assert_eq!(ids.len(), 40);
        let mut owned = BTreeMap::new();
        for id in &ids {
            *owned.entry(placement.shard(id).unwrap()).or_default() += 1;
        }
        assert!(!owned.contains_key(&ShardId::new(1).unwrap()));
        assert_eq!(owned.into_values().collect::<Vec<usize>>(), [5; 8]);
        assert!(Placement::of(0).is_err());
    }
}
