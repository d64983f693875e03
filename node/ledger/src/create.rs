//! Creating a campaign.

use std::sync::Arc;

use coupon_cluster::Epoch;

use crate::entry::{Entry, Found};
use crate::{Campaign, CampaignCounters, CampaignSpec, CreateCampaign, Outcome, Refusal, Store};

impl<S: Store> Entry<'_, S> {
    /// Creates a campaign, unless its id is taken.
    pub(crate) fn create_campaign(
        &mut self,
        epoch: Epoch,
        command: CreateCampaign,
    ) -> Result<Outcome, S::Error> {
        let Self { ledger, store, touched } = self;
        match touched.find(ledger, *store, epoch, &command.id)? {
            Found::Campaign(existing) => return Ok(answer_with(&existing.campaign, &command)),
            Found::Fenced(refusal) => return Ok(refusal.into()),
            Found::Nothing => {}
        }
        let created = ledger.state.log_time;
        let start = command.start.unwrap_or(created);
        if command.end.is_some_and(|end| end <= start) {
            return Ok(Refusal::EmptyWindow.into());
        }
        let number = ledger.state.next_campaign_number;
        let Some(next_number) = number.checked_add(1) else {
            return Ok(Refusal::ShardFull.into());
        };
        ledger.state.next_campaign_number = next_number;
        let spec = CampaignSpec {
            id: command.id,
            number,
            display_name: command.display_name,
            quota: command.quota,
            start,
            requested_start: command.start,
            end: command.end,
            per_recipient_limit: command.per_recipient_limit,
            coupon_ttl_micros: command.coupon_ttl_micros,
            labels: command.labels,
            request_id: command.request_id,
            code_key: command.code_key,
            code_shard: ledger.shard,
            created,
        };
        let campaign = Campaign { spec: Arc::new(spec), counters: CampaignCounters::NEW };
        store.insert_campaign(&campaign)?;
        Ok(Outcome::CampaignCreated { campaign, replayed: false })
    }
}

/// The outcome of a command whose id is taken.
fn answer_with(existing: &Campaign, command: &CreateCampaign) -> Outcome {
    if existing.spec.request_id != command.request_id {
        Refusal::CampaignExists.into()
    } else if was_asked_for_by(&existing.spec, command) {
        Outcome::CampaignCreated { campaign: existing.clone(), replayed: true }
    } else {
        Refusal::RequestIdReused.into()
    }
}

/// Whether a command asks for just this campaign. Every field of the command is named here, so that a
/// new one cannot be forgotten.
fn was_asked_for_by(spec: &CampaignSpec, command: &CreateCampaign) -> bool {
    let CreateCampaign {
        id,
        display_name,
        quota,
        start,
        end,
        per_recipient_limit,
        coupon_ttl_micros,
        labels,
        request_id,
        // The system chooses it, and may have begun to use another one since the first attempt.
        code_key: _,
    } = command;
    spec.id == *id
        && spec.display_name == *display_name
        && spec.quota == *quota
        && spec.requested_start == *start
        && spec.end == *end
        && spec.per_recipient_limit == *per_recipient_limit
        && spec.coupon_ttl_micros == *coupon_ttl_micros
        && spec.labels == *labels
        && spec.request_id == *request_id
}
