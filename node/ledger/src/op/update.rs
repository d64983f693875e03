//! Changing fields of a campaign.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use coupon_cluster::{CampaignName, Epoch, RequestId};
use siphasher::sip::SipHasher24;

use super::change::{refuse_archived, refuse_ended};
use crate::entry::Entry;
use crate::mutants::{self, Mutant};
use crate::{
    Campaign, CampaignCounters, CampaignSpec, Change, ChangeKind, LogTime, Outcome, Refusal, Store,
};

/// Changes fields of a campaign, all of them or none. A field that is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateCampaign {
    /// The campaign.
    pub campaign: CampaignName,
    /// Recognises a retry.
    pub request_id: RequestId,
    /// The entity tag that the campaign must have; empty: any.
    pub etag: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// How many coupons may be issued: no less than count toward the quota already. A campaign that is sold out
    /// issues coupons again when it grows.
    pub quota: Option<u64>,
    /// When it starts; `Some(None)`: at once. Only before the start that it has.
    pub start: Option<Option<LogTime>>,
    /// When it ends, after log time and the start; `Some(None)`: never.
    pub end: Option<Option<LogTime>>,
    /// All labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The limit per recipient, which must be the one that it has.
    pub per_recipient_limit: Option<u32>,
    /// The lifetime of coupons, which must be the one that they have.
    pub coupon_ttl_micros: Option<Option<u64>>,
}

impl<S: Store> Entry<'_, S> {
    /// Changes fields of a campaign. After the end, only its name and labels can be changed.
    pub(crate) fn update_campaign(
        &mut self,
        epoch: Epoch,
        command: &UpdateCampaign,
    ) -> Result<Outcome, S::Error> {
        let kind = ChangeKind::Update { fingerprint: command.fingerprint() };
        let change = Change { request_id: command.request_id, kind };
        self.change_campaign(epoch, &command.campaign, change, |campaign, now| {
            command.apply_to(campaign, now)
        })
    }
}

impl UpdateCampaign {
    fn apply_to(&self, campaign: &Campaign, now: LogTime) -> Result<Option<CampaignSpec>, Refusal> {
        let before = &*campaign.spec;
        let is_stale = !self.etag.is_empty() && self.etag != before.etag();
        if is_stale && !mutants::is(Mutant::EtagIgnored) {
            return Err(Refusal::EtagMismatch);
        }
        if self.per_recipient_limit.is_some_and(|limit| limit != before.per_recipient_limit) {
            return Err(Refusal::PerRecipientLimitFixed);
        }
        if self.coupon_ttl_micros.is_some_and(|ttl| ttl != before.coupon_ttl_micros) {
            return Err(Refusal::CouponTtlFixed);
        }
        let after = self.fields_over(before, now);
        if after != *before {
            refuse_archived(campaign)?;
        }
        let window = |spec: &CampaignSpec| (spec.start, spec.end);
        if (window(&after), after.quota) != (window(before), before.quota) {
            refuse_ended(campaign, now)?;
        }
        if window(&after) != window(before) {
            check_window(before, &after, now)?;
        }
        let quota_min = campaign.counters.quota_used().min(before.quota);
        if after.quota != before.quota && after.quota < quota_min {
            let CampaignCounters { issued, held, .. } = campaign.counters;
            return Err(Refusal::QuotaBelowIssued { issued, held, quota_min });
        }
        Ok((after != *before).then_some(after))
    }

    fn fields_over(&self, before: &CampaignSpec, now: LogTime) -> CampaignSpec {
        let text = self.display_name.as_ref().unwrap_or(&before.display_name);
        CampaignSpec {
            display_name: text.clone(),
            quota: self.quota.unwrap_or(before.quota),
            start: self.start.map_or(before.start, |start| start.unwrap_or(now)),
            end: self.end.unwrap_or(before.end),
            labels: self.labels.as_ref().unwrap_or(&before.labels).clone(),
            ..before.clone()
        }
    }

    /// SipHash-2-4, with a key of zeros, of all fields but the campaign and the request id.
    fn fingerprint(&self) -> u64 {
        let Self {
            campaign: _,
            request_id: _,
            etag,
            display_name,
            quota,
            start,
            end,
            labels,
            per_recipient_limit,
            coupon_ttl_micros,
        } = self;
        let mut fields = Fields(SipHasher24::new());
        fields.text(1, etag);
        display_name.iter().for_each(|name| fields.text(2, name));
        quota.iter().for_each(|quota| fields.number(3, *quota));
        start.iter().for_each(|start| fields.number(4, start.map_or(0, |start| start.0)));
        end.iter().for_each(|end| fields.number(5, end.map_or(0, |end| end.0)));
        if let Some(labels) = labels {
            fields.number(6, labels.len() as u64);
            for (key, value) in labels {
                fields.text(7, key);
                fields.text(8, value);
            }
        }
        per_recipient_limit.iter().for_each(|limit| fields.number(9, u64::from(*limit)));
        coupon_ttl_micros.iter().for_each(|ttl| fields.number(10, ttl.unwrap_or(0)));
        fields.0.finish()
    }
}

/// Fields as bytes that no two different lists of fields share: the number of the field, and its value, in
/// big-endian, or its length and its value.
struct Fields(SipHasher24);

impl Fields {
    fn number(&mut self, field: u8, value: u64) {
        self.0.write(&[field]);
        self.0.write(&value.to_be_bytes());
    }

    fn text(&mut self, field: u8, value: &str) {
        self.number(field, value.len() as u64);
        self.0.write(value.as_bytes());
    }
}

/// Checks a window that an update makes.
fn check_window(before: &CampaignSpec, after: &CampaignSpec, now: LogTime) -> Result<(), Refusal> {
    if after.start != before.start && before.start <= now {
        return Err(Refusal::AlreadyStarted { start: before.start, now });
    }
    match after.end {
        Some(end) if end <= now && after.end != before.end => Err(Refusal::EndInPast { end, now }),
        Some(end) if end <= after.start => Err(Refusal::EmptyWindow),
        _ => Ok(()),
    }
}
