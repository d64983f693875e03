//! Creating a campaign.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_cluster::{CampaignName, CodeScheme, Epoch, KeyId, RequestId};

use crate::entry::{Entry, Found};
use crate::event::record;
use crate::fence::Fence;
use crate::hold::settle_all;
use crate::{
    Campaign, CampaignCounters, CampaignSpec, CampaignStage, CampaignTerms, EventKind, LogTime,
    Outcome, Refusal, Store,
};

/// Creates a campaign. The fields are those of [`CampaignSpec`](crate::CampaignSpec).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateCampaign {
    /// The id wanted.
    pub name: CampaignName,
    /// A name for people.
    pub display_name: String,
    /// How many coupons may be issued.
    pub quota: u64,
    /// Nothing is issued before this time; `None`: the campaign starts when it is created.
    pub start: Option<LogTime>,
    /// Nothing is issued at or after this time; `None`: no end.
    pub end: Option<LogTime>,
    /// How many coupons a recipient may hold; 0: no limit.
    pub per_recipient_limit: u32,
    /// For how many microseconds a coupon may be used; `None`: for ever.
    pub coupon_ttl_micros: Option<u64>,
    /// Labels for the owner's use.
    pub labels: BTreeMap<String, String>,
    /// Profile, length and prefix of the codes.
    pub code_scheme: CodeScheme,
    /// Whether its coupons get codes that are imported.
    pub has_imported_codes: bool,
    /// Recognises a retry: the same id with the same fields is answered with the same campaign.
    pub request_id: RequestId,
    /// The key that the codes of the campaign are made with. Chosen by the system, not by the
    /// caller, and so not among the fields that a retry must repeat.
    pub code_key: KeyId,
}

impl<S: Store> Entry<'_, S> {
    /// Creates a campaign, unless its id is taken.
    pub(crate) fn create_campaign(
        &mut self,
        epoch: Epoch,
        command: CreateCampaign,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let existing = match touched.find_with_deleted(fence, *store, epoch, &command.name)? {
            Found::Campaign(existing) => {
                existing.changed |=
                    settle_all(*store, &mut existing.campaign, fence.state.log_time)?;
                Some(&existing.campaign)
            }
            Found::Fenced(refusal) => return Ok(refusal.into()),
            Found::Nothing => None,
        };
        let outcome = created(fence, fence.state.log_time, existing, command);
        if let Outcome::CampaignCreated { campaign, replayed: false, .. } = &outcome {
            fence.state.next_campaign_number = campaign.spec.number.saturating_add(1);
            store.put_campaign(campaign)?;
            let (spec, kind) = (&campaign.spec, CampaignTerms::of(&campaign.spec));
            let kind = EventKind::CampaignCreated(kind);
            record(*store, campaign, spec.created, spec.request_id, kind)?;
        }
        Ok(outcome)
    }
}

/// The outcome of a command at `now`, where there is already the campaign `existing` with its id.
pub(crate) fn created(
    fence: &Fence,
    now: LogTime,
    existing: Option<&Campaign>,
    command: CreateCampaign,
) -> Outcome {
    if let Some(existing) = existing {
        return answer_with(existing, now, &command);
    }
    let start = command.start.unwrap_or(now);
    if let Some(end) = command.end {
        if end <= now {
            return Refusal::EndInPast { end, now }.into();
        }
        if end <= start {
            return Refusal::EmptyWindow.into();
        }
    }
    let number = fence.state.next_campaign_number;
    if number == u32::MAX {
        return Refusal::ShardFull.into();
    }
    let spec = CampaignSpec {
        name: command.name,
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
        code_scheme: command.code_scheme,
        code_shard: fence.shard,
        has_imported_codes: command.has_imported_codes,
        created: now,
        updated: now,
        updated_revision: CampaignCounters::NEW.revision,
        asked: None,
        is_paused: false,
        stage: CampaignStage::InUse,
        changes: Vec::new(),
    };
    let campaign = Campaign { spec: Arc::new(spec), counters: CampaignCounters::NEW };
    Outcome::CampaignCreated { campaign, now, replayed: false }
}

/// The outcome of a command whose id is taken.
fn answer_with(existing: &Campaign, now: LogTime, command: &CreateCampaign) -> Outcome {
    if existing.spec.is_deleted() {
        Refusal::CampaignDeleted.into()
    } else if existing.spec.request_id != command.request_id {
        Refusal::CampaignExists.into()
    } else if was_asked_for_by(&existing.spec, command) {
        Outcome::CampaignCreated { campaign: existing.clone(), now, replayed: true }
    } else {
        Refusal::RequestIdReused.into()
    }
}

/// Whether a command asks for just this campaign. Every field of the command is named here, so that a
/// new one cannot be forgotten.
fn was_asked_for_by(spec: &CampaignSpec, command: &CreateCampaign) -> bool {
    let CreateCampaign {
        name,
        display_name,
        quota,
        start,
        end,
        per_recipient_limit,
        coupon_ttl_micros,
        labels,
        code_scheme,
        has_imported_codes,
        request_id,
        // The system chooses it, and may have begun to use another one since the first attempt.
        code_key: _,
    } = command;
    let now = (&spec.display_name, spec.quota, spec.end, &spec.labels);
    let asked = spec.asked.as_deref();
    let asked =
        asked.map_or(now, |asked| (&asked.display_name, asked.quota, asked.end, &asked.labels));
    spec.name == *name
        && asked == (display_name, *quota, *end, labels)
        && spec.requested_start == *start
        && spec.per_recipient_limit == *per_recipient_limit
        && spec.coupon_ttl_micros == *coupon_ttl_micros
        && spec.code_scheme == *code_scheme
        && spec.has_imported_codes == *has_imported_codes
        && spec.request_id == *request_id
}
