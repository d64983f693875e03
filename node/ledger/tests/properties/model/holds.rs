//! Holds: a list of them, and the time.

use coupon_ledger::{ConfirmHold, Hold, HoldCoupon, HoldState, ReleaseHold};

use super::*;

impl Model {
    pub(super) fn hold(&mut self, epoch: Epoch, asked: &HoldCoupon) -> Result<Outcome, Refusal> {
        let now = LogTime(self.now);
        let listed = self.listed(epoch, &asked.campaign)?;
        let hold_id = asked.request_id;
        let end = |from: LogTime| LogTime(from.0.saturating_add(asked.ttl_micros.max(1)));
        if let Some(hold) = listed.hold_with(hold_id) {
            if (&hold.recipient, hold.expires_at) != (&asked.recipient, end(hold.held_at)) {
                return Err(Refusal::RequestIdReused);
            }
            return Ok(Outcome::HoldChanged { hold_id, hold: hold.clone(), now, replayed: true });
        }
        if listed.by_request(hold_id).is_some() {
            return Err(Refusal::RequestIdReused);
        }
        listed.can_be_claimed(&asked.recipient, now.0)?;
        let recipient = asked.recipient.clone();
        let (expires_at, state) = (end(now), HoldState::Open);
        let hold = Hold { recipient, held_at: now, expires_at, state };
        listed.holds.push((hold_id, hold.clone()));
        listed.note(now, hold_id, EventKind::HoldChanged { hold_id, hold: hold.clone() });
        Ok(Outcome::HoldChanged { hold_id, hold, now, replayed: false })
    }

    pub(super) fn confirm(
        &mut self,
        epoch: Epoch,
        asked: &ConfirmHold,
    ) -> Result<Outcome, Refusal> {
        let now = LogTime(self.now);
        let listed = self.listed(epoch, &asked.campaign)?;
        let hold = listed.hold_with(asked.hold_id).ok_or(Refusal::HoldNotFound)?.clone();
        if let HoldState::Confirmed { request_id, sequence, .. } = hold.state
            && request_id == asked.request_id
        {
            let issued = listed.coupons[usize::try_from(sequence).unwrap() - 1].clone();
            if issued.coupon.metadata != asked.metadata {
                return Err(Refusal::RequestIdReused);
            }
            return Ok(Outcome::HoldConfirmed { issued, now, replayed: true });
        }
        can_be_closed(&hold, asked.hold_id, asked.request_id, now)?;
        let issued = self.add_coupon(
            &asked.campaign,
            hold.recipient.clone(),
            asked.hold_id,
            asked.metadata.clone(),
        );
        let (at, request_id, sequence) = (now, asked.request_id, issued.sequence);
        let listed = self.listed(epoch, &asked.campaign)?;
        listed.close(asked.hold_id, HoldState::Confirmed { at, request_id, sequence });
        Ok(Outcome::HoldConfirmed { issued, now, replayed: false })
    }

    pub(super) fn release(
        &mut self,
        epoch: Epoch,
        asked: &ReleaseHold,
    ) -> Result<Outcome, Refusal> {
        let now = LogTime(self.now);
        let listed = self.listed(epoch, &asked.campaign)?;
        let ReleaseHold { campaign: _, hold_id, request_id } = *asked;
        let hold = listed.hold_with(hold_id).ok_or(Refusal::HoldNotFound)?.clone();
        let is_its = |by: RequestId| by == request_id;
        if matches!(hold.state, HoldState::Released { request_id: by, .. } if is_its(by)) {
            return Ok(Outcome::HoldChanged { hold_id, hold, now, replayed: true });
        }
        can_be_closed(&hold, hold_id, request_id, now)?;
        let hold = listed.close(hold_id, HoldState::Released { at: now, request_id });
        listed.note(now, request_id, EventKind::HoldChanged { hold_id, hold: hold.clone() });
        Ok(Outcome::HoldChanged { hold_id, hold, now, replayed: false })
    }
}

fn can_be_closed(
    hold: &Hold,
    hold_id: RequestId,
    request_id: RequestId,
    now: LogTime,
) -> Result<(), Refusal> {
    if request_id == hold_id {
        return Err(Refusal::RequestIdReused);
    }
    match hold.state {
        HoldState::Confirmed { request_id: by, .. }
        | HoldState::Released { request_id: by, .. }
            if by == request_id =>
        {
            Err(Refusal::RequestIdReused)
        }
        HoldState::Confirmed { at, .. } => Err(Refusal::HoldConfirmed { at }),
        HoldState::Released { at, .. } => Err(Refusal::HoldReleased { at }),
        HoldState::Open if now >= hold.expires_at => {
            Err(Refusal::HoldExpired { end: hold.expires_at, now })
        }
        HoldState::Open => Ok(()),
    }
}

impl Listed {
    /// Refuses a new request for a coupon or a hold.
    pub(super) fn can_be_claimed(&self, recipient: &str, now: u64) -> Result<(), Refusal> {
        let limit = self.asked.per_recipient_limit as usize;
        if limit > 0 {
            if recipient.is_empty() {
                return Err(Refusal::RecipientRequired);
            }
            let (mut held, mut hold_ids) = (self.held_by(recipient), self.holds_of(recipient, now));
            if held.len() + hold_ids.len() >= limit {
                held.truncate(coupon_ledger::HELD_SHOWN_MAX);
                hold_ids.truncate(coupon_ledger::HELD_SHOWN_MAX);
                let now = LogTime(now);
                return Err(Refusal::RecipientLimitReached { held, hold_ids, now });
            }
        }
        self.still_open(now)?;
        if self.terms.is_paused {
            return Err(Refusal::Paused);
        }
        if now < self.terms.start {
            let start = LogTime(self.terms.start);
            return Err(Refusal::NotStarted { start, now: LogTime(now) });
        }
        if self.used() >= self.quota_in_force() {
            let is_sold_out = self.used() >= self.terms.quota;
            return Err(if is_sold_out { Refusal::SoldOut } else { Refusal::OutOfCodes });
        }
        if self.is_used_up(now) {
            let until = self.hold_ends(now).unwrap().first;
            return Err(Refusal::QuotaHeld { until, now: LogTime(now) });
        }
        Ok(())
    }

    /// Whether nothing is left of the quota: it is issued or held.
    pub(super) fn is_used_up(&self, now: u64) -> bool {
        self.used() + self.open_holds(now).count() as u64 >= self.quota_in_force()
    }

    pub(super) fn hold_with(&self, hold_id: RequestId) -> Option<&Hold> {
        self.holds.iter().find(|(id, _)| *id == hold_id).map(|(_, hold)| hold)
    }

    /// The holds that claim quota at a moment.
    pub(super) fn open_holds(&self, now: u64) -> impl Iterator<Item = &(RequestId, Hold)> {
        self.holds
            .iter()
            .filter(move |(_, hold)| hold.state == HoldState::Open && now < hold.expires_at.0)
    }

    /// When the first and the last of them end.
    pub(super) fn hold_ends(&self, now: u64) -> Option<HoldEnds> {
        let ends = || self.open_holds(now).map(|(_, hold)| hold.expires_at);
        Some(HoldEnds { first: ends().min()?, last: ends().max()? })
    }

    /// The ids of those of a recipient, by their ends.
    pub(super) fn holds_of(&self, recipient: &str, now: u64) -> Vec<RequestId> {
        let all = self.open_holds(now).filter(|(_, hold)| hold.recipient == recipient);
        let mut ends: Vec<_> = all.map(|(id, hold)| (hold.expires_at, *id)).collect();
        ends.sort_unstable();
        ends.into_iter().map(|(_, id)| id).collect()
    }

    fn close(&mut self, hold_id: RequestId, state: HoldState) -> Hold {
        let (_, hold) = self.holds.iter_mut().find(|(id, _)| *id == hold_id).unwrap();
        hold.state = state;
        hold.clone()
    }
}
