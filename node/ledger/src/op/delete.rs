//! Deleting a campaign.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_cluster::{CampaignName, Epoch, RequestId};

use crate::entry::{Entry, Found};
use crate::{CampaignSpec, CampaignStage, Change, ChangeKind, Outcome, Refusal, Store};

/// Deletes an archived campaign and its coupons. Neither its id nor its codes are ever reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteCampaign {
    /// The campaign.
    pub campaign: CampaignName,
    /// Recognises a retry.
    pub request_id: RequestId,
}

impl<S: Store> Entry<'_, S> {
    /// Deletes an archived campaign.
    pub(crate) fn delete_campaign(
        &mut self,
        epoch: Epoch,
        command: &DeleteCampaign,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let touched = match touched.find_with_deleted(fence, *store, epoch, &command.campaign)? {
            Found::Campaign(touched) => touched,
            Found::Nothing => return Ok(Refusal::CampaignNotFound.into()),
            Found::Fenced(refusal) => return Ok(refusal.into()),
        };
        let campaign = &mut touched.campaign;
        let change = Change { request_id: command.request_id, kind: ChangeKind::Delete };
        let made = |made: &&Change| made.request_id == change.request_id;
        if let Some(made) = campaign.spec.changes.iter().find(made) {
            return Ok(if *made == change {
                Outcome::CampaignDeleted { replayed: true }
            } else {
                Refusal::RequestIdReused.into()
            });
        }
        match campaign.spec.stage {
            CampaignStage::InUse => return Ok(Refusal::NotArchived.into()),
            CampaignStage::Deleted => return Ok(Refusal::CampaignNotFound.into()),
            CampaignStage::Archived => {}
        }
        let revision = campaign.counters.revision.saturating_add(1);
        campaign.counters.revision = revision;
        campaign.spec = Arc::new(CampaignSpec {
            display_name: String::new(),
            labels: BTreeMap::new(),
            asked: None,
            updated: fence.state.log_time,
            updated_revision: revision,
            stage: CampaignStage::Deleted,
            changes: vec![change],
            ..CampaignSpec::clone(&campaign.spec)
        });
        touched.changed = true;
        store.put_campaign(campaign)?;
        store.free_coupons(&campaign.spec)?;
        Ok(Outcome::CampaignDeleted { replayed: false })
    }
}
