//! What can be read.

use coupon_cluster::CampaignState;
use coupon_ledger::{CampaignCode, CodeNumber};

use super::coupons::{has_code, is_named};
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

    /// How many campaigns were created, deleted ones included: the number of the next one.
    pub(crate) fn campaigns_created(&self) -> u32 {
        u32::try_from(self.campaigns.len()).unwrap()
    }

    /// All campaigns that are not deleted, by id, with the holds that are open at a moment.
    pub(crate) fn campaigns(&self, now: u64) -> Vec<Campaign> {
        let places = 0..self.campaigns.len();
        let there = places.filter(|place| self.campaigns[*place].deleted_by.is_none());
        let mut campaigns: Vec<_> = there.map(|place| self.campaign(place, now)).collect();
        campaigns.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
        campaigns
    }

    /// Where a campaign stands at a moment; `None`: there is no such campaign.
    pub(crate) fn state(&self, campaign: &CampaignName, now: u64) -> Option<CampaignState> {
        let listed = self.there(campaign)?;
        Some(if listed.terms.is_archived {
            CampaignState::Archived
        } else if listed.still_open(now).is_err() {
            CampaignState::Ended
        } else if listed.terms.is_paused {
            CampaignState::Paused
        } else if now < listed.terms.start {
            CampaignState::Scheduled
        } else if listed.is_used_up(now) {
            CampaignState::Exhausted
        } else {
            CampaignState::Active
        })
    }

    /// The entity tag of a campaign; `None`: there is no such campaign.
    pub(crate) fn etag(&self, campaign: &CampaignName) -> Option<String> {
        self.there(campaign).map(Listed::etag)
    }

    /// The coupons of a campaign, by sequence number; `None`: there is no such campaign.
    pub(crate) fn coupons(&self, campaign: &CampaignName) -> Option<Vec<IssuedCoupon>> {
        self.there(campaign).map(|listed| listed.coupons.clone())
    }

    /// The coupons of a recipient in the campaigns with this number and greater ones, by campaign and sequence number.
    pub(crate) fn coupons_of(
        &self,
        recipient: &str,
        from: u32,
    ) -> Vec<(CampaignName, IssuedCoupon)> {
        let campaigns = self.campaigns.iter().skip(from as usize);
        let campaigns = campaigns.filter(|listed| listed.deleted_by.is_none());
        let coupons = campaigns.flat_map(|listed| {
            listed.coupons.iter().map(|issued| (listed.asked.name.clone(), issued.clone()))
        });
        coupons.filter(|(_, issued)| issued.coupon.recipient == recipient).collect()
    }

    /// The holds of a campaign, by id.
    pub(crate) fn holds(&self, campaign: &CampaignName) -> BTreeMap<RequestId, Hold> {
        self.there(campaign).into_iter().flat_map(|listed| listed.holds.clone()).collect()
    }

    pub(super) fn there(&self, campaign: &CampaignName) -> Option<&Listed> {
        let mut there = self.campaigns.iter().filter(|listed| listed.deleted_by.is_none());
        there.find(|listed| listed.asked.name == *campaign)
    }

    /// The coupon of a code, and the name of its campaign.
    pub(crate) fn find(&self, code: &CodeNumber) -> Option<(CampaignName, IssuedCoupon)> {
        let mut campaigns = self.campaigns.iter().filter(|listed| listed.deleted_by.is_none());
        campaigns.find_map(|listed| {
            let coupon = listed
                .coupons
                .iter()
                .find(|issued| issued.coupon.imported_code.is_none() && has_code(issued, code))?;
            Some((listed.asked.name.clone(), coupon.clone()))
        })
    }

    /// The coupon of a campaign that has a code.
    pub(crate) fn find_in(&self, code: &CampaignCode) -> Result<IssuedCoupon, Refusal> {
        let listed = self.there(&code.campaign).ok_or(Refusal::CampaignNotFound)?;
        let is_it = |issued: &&IssuedCoupon| is_named(issued, code);
        listed.coupons.iter().find(is_it).cloned().ok_or(Refusal::CouponNotFound)
    }
}
