//! A store in memory: the ledger's tables in their plainest form.

use std::collections::BTreeMap;
use std::convert::Infallible;

use coupon_cluster::{CampaignName, RequestId};

use crate::{
    Campaign, CampaignCounters, CampaignSpec, Coupon, CouponHistory, ShardState, StateReader, Store,
};

/// A [`Store`] that keeps everything in ordered maps and loses it when it is dropped.
///
/// It serves tests, and says what a durable store has to hold. Two of them that compare equal hold
/// the same state, down to the last index entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    shard_state: ShardState,
    campaigns: BTreeMap<CampaignName, Campaign>,
    /// Campaign number to name.
    names: BTreeMap<u32, CampaignName>,
    /// By campaign number.
    coupons: BTreeMap<u32, CouponTables>,
    /// Block to campaign number and first sequence number.
    blocks: BTreeMap<u64, (u32, u64)>,
}

/// The coupons of one campaign, and the ways to find them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CouponTables {
    by_sequence: BTreeMap<u64, Coupon>,
    by_request: BTreeMap<RequestId, u64>,
    by_recipient: BTreeMap<String, Vec<u64>>,
    histories: BTreeMap<u64, CouponHistory>,
}

impl MemoryStore {
    /// All campaigns, by id.
    pub fn campaigns(&self) -> impl Iterator<Item = &Campaign> {
        self.campaigns.values()
    }

    /// The coupons of a campaign with their sequence numbers, in the order of issuance.
    pub fn coupons(&self, campaign_number: u32) -> impl Iterator<Item = (u64, &Coupon)> {
        self.coupons
            .get(&campaign_number)
            .into_iter()
            .flat_map(|tables| &tables.by_sequence)
            .map(|(sequence, coupon)| (*sequence, coupon))
    }

    /// What was done with the coupons of a campaign, by sequence number.
    pub fn histories(&self, campaign_number: u32) -> impl Iterator<Item = (u64, &CouponHistory)> {
        let tables = self.coupons.get(&campaign_number).into_iter();
        tables.flat_map(|tables| &tables.histories).map(|(sequence, history)| (*sequence, history))
    }
}

impl StateReader for MemoryStore {
    type Error = Infallible;

    fn shard_state(&mut self) -> Result<ShardState, Infallible> {
        Ok(self.shard_state.clone())
    }

    fn campaign(&mut self, id: &CampaignName) -> Result<Option<Campaign>, Infallible> {
        Ok(self.campaigns.get(id).cloned())
    }

    fn campaign_of_number(&mut self, number: u32) -> Result<Option<Campaign>, Infallible> {
        let name = self.names.get(&number);
        Ok(name.and_then(|name| self.campaigns.get(name)).cloned())
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, Infallible> {
        let tables = self.coupons.get(&campaign_number);
        let coupon = tables.and_then(|tables| tables.by_sequence.get(&sequence));
        Ok(coupon.expect("the indexes lead to coupons that were inserted with them").clone())
    }

    fn coupon_history(
        &mut self,
        campaign_number: u32,
        sequence: u64,
    ) -> Result<Option<CouponHistory>, Infallible> {
        let tables = self.coupons.get(&campaign_number);
        Ok(tables.and_then(|tables| tables.histories.get(&sequence)).cloned())
    }

    fn block(&mut self, block: u64) -> Result<Option<(u32, u64)>, Infallible> {
        Ok(self.blocks.get(&block).copied())
    }

    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, Infallible> {
        let tables = self.coupons.get(&campaign_number);
        Ok(tables.and_then(|tables| tables.by_request.get(&request_id)).copied())
    }

    fn sequences_at_limit(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        limit: usize,
        skipped_max: usize,
    ) -> Result<Option<Vec<u64>>, Infallible> {
        let Some(tables) = self.coupons.get(&campaign_number) else { return Ok(None) };
        let issued = tables.by_recipient.get(recipient).map_or(&[][..], Vec::as_slice);
        let (mut held, mut skipped) = (Vec::new(), 0);
        for sequence in issued.iter().rev() {
            let history = tables.histories.get(sequence);
            if history.is_some_and(|history| history.state().has_returned_quota()) {
                skipped += 1;
            } else {
                held.push(*sequence);
            }
            if held.len() == limit || skipped > skipped_max {
                held.reverse();
                return Ok(Some(held));
            }
        }
        Ok(None)
    }
}

impl Store for MemoryStore {
    fn put_shard_state(&mut self, state: &ShardState) -> Result<(), Infallible> {
        self.shard_state.clone_from(state);
        Ok(())
    }

    fn put_campaign(&mut self, campaign: &Campaign) -> Result<(), Infallible> {
        self.names.insert(campaign.spec.number, campaign.spec.name.clone());
        self.campaigns.insert(campaign.spec.name.clone(), campaign.clone());
        Ok(())
    }

    fn put_counters(
        &mut self,
        campaign: &CampaignSpec,
        counters: CampaignCounters,
    ) -> Result<(), Infallible> {
        let campaign = self.campaigns.get_mut(&campaign.name);
        campaign.expect("the ledger puts counters of campaigns that it read").counters = counters;
        Ok(())
    }

    fn insert_coupon(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        coupon: &Coupon,
    ) -> Result<(), Infallible> {
        let tables = self.coupons.entry(campaign.number).or_default();
        tables.by_sequence.insert(sequence, coupon.clone());
        tables.by_request.insert(coupon.request_id, sequence);
        tables.by_recipient.entry(coupon.recipient.clone()).or_default().push(sequence);
        Ok(())
    }

    fn put_coupon_history(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        history: &CouponHistory,
    ) -> Result<(), Infallible> {
        let tables = self.coupons.entry(campaign.number).or_default();
        tables.histories.insert(sequence, history.clone());
        Ok(())
    }

    fn free_coupons(&mut self, campaign: &CampaignSpec) -> Result<(), Infallible> {
        self.coupons.remove(&campaign.number);
        Ok(())
    }

    fn put_block(
        &mut self,
        block: u64,
        campaign_number: u32,
        first_sequence: u64,
    ) -> Result<(), Infallible> {
        self.blocks.insert(block, (campaign_number, first_sequence));
        Ok(())
    }
}
