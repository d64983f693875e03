//! What can be read.

use super::coupons::is_code_of;
use super::*;

impl Model {
    /// Log time.
    pub(crate) fn now(&self) -> LogTime {
        LogTime(self.now)
    }

    /// How many blocks of code counters were taken.
    pub(crate) fn blocks_taken(&self) -> u64 {
        self.blocks_taken
    }

    /// All campaigns that are not deleted, by id, with the holds that are open at a moment.
    pub(crate) fn campaigns(&self, now: u64) -> Vec<Campaign> {
        let places = 0..self.campaigns.len();
        let there = places.filter(|place| self.campaigns[*place].deleted_by.is_none());
        let mut campaigns: Vec<_> = there.map(|place| self.campaign(place, now)).collect();
        campaigns.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
        campaigns
    }

    /// The coupons of a campaign, by sequence number; `None`: there is no such campaign.
    pub(crate) fn coupons(&self, campaign: &CampaignName) -> Option<Vec<IssuedCoupon>> {
        self.there(campaign).map(|listed| listed.coupons.clone())
    }

    /// The holds of a campaign, by id.
    #[allow(dead_code, reason = "nothing lists the holds of a node")]
    pub(crate) fn holds(&self, campaign: &CampaignName) -> BTreeMap<RequestId, Hold> {
        self.there(campaign).into_iter().flat_map(|listed| listed.holds.clone()).collect()
    }

    fn there(&self, campaign: &CampaignName) -> Option<&Listed> {
        let mut there = self.campaigns.iter().filter(|listed| listed.deleted_by.is_none());
        there.find(|listed| listed.asked.name == *campaign)
    }

    /// The coupon of a code, and the name of its campaign.
    pub(crate) fn find(&self, code: &CodeNumber) -> Option<(CampaignName, IssuedCoupon)> {
        let mut campaigns = self.campaigns.iter().filter(|listed| listed.deleted_by.is_none());
        campaigns.find_map(|listed| {
            let coupon = listed.coupons.iter().find(|issued| is_code_of(code, issued))?;
            Some((listed.asked.name.clone(), coupon.clone()))
        })
    }
}
