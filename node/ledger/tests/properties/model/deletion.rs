//! Campaigns that are deleted.

use coupon_cluster::Epoch;
use coupon_ledger::{DeleteCampaign, Outcome, Refusal};

use super::Model;
use super::changes::remembered;

impl Model {
    pub(super) fn delete(
        &mut self,
        epoch: Epoch,
        delete: &DeleteCampaign,
    ) -> Result<Outcome, Refusal> {
        self.fence(epoch, &delete.campaign)?;
        let mut listed = self.campaigns.iter_mut();
        let listed = listed.find(|listed| listed.asked.name == delete.campaign);
        let listed = listed.ok_or(Refusal::CampaignNotFound)?;
        if listed.deleted_by == Some(delete.request_id) {
            return Ok(Outcome::CampaignDeleted { replayed: true });
        }
        if listed.deleted_by.is_some() {
            return Err(Refusal::CampaignNotFound);
        }
        let mut latest = listed.changes.iter().rev().take(16);
        if latest.any(|before| remembered(before).request_id == delete.request_id) {
            return Err(Refusal::RequestIdReused);
        }
        if !listed.terms.is_archived {
            return Err(Refusal::NotArchived);
        }
        listed.deleted_by = Some(delete.request_id);
        Ok(Outcome::CampaignDeleted { replayed: false })
    }
}
