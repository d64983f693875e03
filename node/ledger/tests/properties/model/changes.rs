//! What an administrator changes about a campaign.

use super::*;

impl Model {
    pub(super) fn change(
        &mut self,
        epoch: Epoch,
        campaign: &CampaignName,
        action: &Action,
    ) -> Result<Outcome, Refusal> {
        self.fence(epoch, campaign)?;
        let is_it = |listed: &Listed| listed.asked.name == *campaign && listed.deleted_by.is_none();
        let place = self.campaigns.iter().position(is_it).ok_or(Refusal::CampaignNotFound)?;
        // The end of a campaign is the first moment after what came before it.
        let is_end = matches!(action, Action::EndCampaign(_));
        let now = if is_end { self.now + 1 } else { self.now };
        let listed = &mut self.campaigns[place];
        let mut latest = listed.changes.iter().rev().take(16);
        let request = remembered(action).request_id;
        if let Some(before) = latest.find(|before| remembered(before).request_id == request) {
            if before != action {
                return Err(Refusal::RequestIdReused);
            }
            let (campaign, now) = (self.campaign(place, self.now), LogTime(self.now));
            return Ok(Outcome::CampaignChanged { campaign, now, replayed: true });
        }
        let before = listed.terms.clone();
        listed.terms = listed.altered(action, now)?;
        if listed.terms != before {
            let asked_for = |terms: &Terms| Terms {
                start: 0,
                is_paused: false,
                is_archived: false,
                ..terms.clone()
            };
            let is_altered = asked_for(&before) != asked_for(&listed.terms);
            listed.is_altered |= is_altered;
            let kind = match remembered(action).kind {
                ChangeKind::Pause => EventKind::CampaignPaused,
                ChangeKind::Resume => EventKind::CampaignResumed,
                ChangeKind::End => EventKind::CampaignEnded,
                ChangeKind::Archive => EventKind::CampaignArchived,
                ChangeKind::Update { .. } => EventKind::CampaignUpdated(listed.terms.in_event()),
                ChangeKind::Delete => unreachable!("that is no change"),
            };
            listed.note(LogTime(now), request, kind);
            listed.changed.push((listed.revision(), now));
        }
        let is_changed = listed.terms != before;
        if listed.terms.quota != before.quota {
            listed.note_sold_out(now);
        }
        listed.changes.push(action.clone());
        let has_ended_now = listed.terms.end == Some(LogTime(now));
        let campaign = self.campaign(place, if is_changed { now } else { self.now });
        if has_ended_now {
            self.now = now;
        }
        Ok(Outcome::CampaignChanged { campaign, now: LogTime(self.now), replayed: false })
    }
}

/// A request to change a campaign, as the campaign remembers it.
pub(super) fn remembered(action: &Action) -> Change {
    let (request_id, kind) = match action {
        Action::PauseCampaign(pause) => (pause.request_id, ChangeKind::Pause),
        Action::ResumeCampaign(resume) => (resume.request_id, ChangeKind::Resume),
        Action::EndCampaign(end) => (end.request_id, ChangeKind::End),
        Action::ArchiveCampaign(archive) => (archive.request_id, ChangeKind::Archive),
        Action::UpdateCampaign(update) => {
            (update.request_id, ChangeKind::Update { fingerprint: 0 })
        }
        other @ (Action::CreateCampaign(_)
        | Action::Issue(_)
        | Action::RedeemCoupon(_)
        | Action::ReverseRedemption(_)
        | Action::VoidCoupon(_)
        | Action::HoldCoupon(_)
        | Action::ConfirmHold(_)
        | Action::ReleaseHold(_)
        | Action::ImportCodes(_)
        | Action::AdoptRing { .. }
        | Action::SkipCounters
        | Action::DeleteCampaign(_)
        | Action::Unreadable) => panic!("not a change: {other:?}"),
    };
    Change { request_id, kind }
}

impl Listed {
    /// What a change makes of it.
    fn altered(&self, action: &Action, now: u64) -> Result<Terms, Refusal> {
        let terms = self.terms.clone();
        match action {
            Action::PauseCampaign(_) | Action::ResumeCampaign(_) if terms.is_archived => {
                Err(Refusal::Archived)
            }
            Action::ArchiveCampaign(_) if self.still_open(now).is_ok() => Err(Refusal::NotEnded),
            Action::ArchiveCampaign(_) if self.open_holds(now).count() > 0 => {
                Err(Refusal::HoldsOpen { held: self.open_holds(now).count() as u64 })
            }
            Action::ArchiveCampaign(_) => Ok(Terms { is_archived: true, ..terms }),
            Action::PauseCampaign(_) => {
                self.still_open(now)?;
                Ok(Terms { is_paused: true, ..terms })
            }
            Action::ResumeCampaign(_) => {
                self.still_open(now)?;
                Ok(Terms { is_paused: false, ..terms })
            }
            Action::EndCampaign(_) if self.still_open(now).is_err() => Ok(terms),
            Action::EndCampaign(_) => Ok(Terms { end: Some(LogTime(now)), ..terms }),
            Action::UpdateCampaign(update) => self.updated(update, now),
            other @ (Action::CreateCampaign(_)
            | Action::Issue(_)
            | Action::RedeemCoupon(_)
            | Action::ReverseRedemption(_)
            | Action::VoidCoupon(_)
            | Action::HoldCoupon(_)
            | Action::ConfirmHold(_)
            | Action::ReleaseHold(_)
            | Action::ImportCodes(_)
            | Action::AdoptRing { .. }
            | Action::SkipCounters
            | Action::DeleteCampaign(_)
            | Action::Unreadable) => panic!("not a change: {other:?}"),
        }
    }

    /// The revision of the last change, and its time.
    pub(super) fn etag(&self) -> String {
        let (revision, time) = self.changed.last().unwrap();
        format!("{revision:x}-{time:x}")
    }

    fn updated(&self, update: &UpdateCampaign, now: u64) -> Result<Terms, Refusal> {
        if !update.etag.is_empty() && update.etag != self.etag() {
            return Err(Refusal::EtagMismatch);
        }
        let limit = self.asked.per_recipient_limit;
        if update.per_recipient_limit.is_some() && update.per_recipient_limit != Some(limit) {
            return Err(Refusal::PerRecipientLimitFixed);
        }
        let ttl = self.asked.coupon_ttl_micros;
        if update.coupon_ttl_micros.is_some() && update.coupon_ttl_micros != Some(ttl) {
            return Err(Refusal::CouponTtlFixed);
        }
        let old = &self.terms;
        let mut new = old.clone();
        update.display_name.iter().for_each(|name| new.display_name.clone_from(name));
        update.labels.iter().for_each(|labels| new.labels.clone_from(labels));
        update.quota.iter().for_each(|quota| new.quota = *quota);
        update.start.iter().for_each(|start| new.start = start.map_or(now, |start| start.0));
        update.end.iter().for_each(|end| new.end = *end);
        if new != *old && old.is_archived {
            return Err(Refusal::Archived);
        }
        if (new.quota, new.start, new.end) != (old.quota, old.start, old.end) {
            self.still_open(now)?;
        }
        if new.start != old.start && now >= old.start {
            let start = LogTime(old.start);
            return Err(Refusal::AlreadyStarted { start, now: LogTime(now) });
        }
        if let Some(end) = new.end.filter(|end| end.0 <= now && new.end != old.end) {
            return Err(Refusal::EndInPast { end, now: LogTime(now) });
        }
        let has_other_window = (new.start, new.end) != (old.start, old.end);
        if has_other_window && new.end.is_some_and(|end| end.0 <= new.start) {
            return Err(Refusal::EmptyWindow);
        }
        let (issued, held) = (self.coupons.len() as u64, self.open_holds(now).count() as u64);
        let quota_min = self.used() + held;
        if new.quota < quota_min {
            return Err(Refusal::QuotaBelowIssued { issued, held, quota_min });
        }
        Ok(new)
    }
}
