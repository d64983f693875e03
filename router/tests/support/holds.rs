//! Holds of the fake ledger. They never expire, since its time stands still; but an answer can say that it is later.

use coupon_proto::internal::hold_record::End;
use coupon_proto::internal::{
    ConfirmHoldCommand, CouponIssued, HoldChanged, HoldConfirmation, HoldConfirmed,
    HoldCouponCommand, HoldRecord, HoldRelease, IssueCommand, Refusal, RefusalReason,
    ReleaseHoldCommand, outcome,
};

use super::ledger::{Ledger, NOW_MICROS, refusal};

/// A hold: its campaign, its id, and itself.
type Held = (String, Vec<u8>, HoldRecord);

/// All holds.
pub struct Holds {
    all: Vec<Held>,
    /// The log time of the next answers.
    pub answered_micros: u64,
}

impl Default for Holds {
    fn default() -> Self {
        Self { all: Vec::new(), answered_micros: NOW_MICROS }
    }
}

impl Holds {
    fn find(&mut self, campaign: &str, hold_id: &[u8]) -> Option<&mut HoldRecord> {
        let found = self.all.iter_mut().find(|(of, id, _)| of == campaign && id == hold_id);
        found.map(|(_, _, hold)| hold)
    }

    /// How many of a campaign are open.
    pub fn open(&self, campaign: &str) -> u64 {
        self.all.iter().filter(|(of, _, hold)| of == campaign && hold.end.is_none()).count() as u64
    }
}

fn refused(reason: RefusalReason) -> outcome::Outcome {
    outcome::Outcome::Refusal(Refusal {
        time_micros: NOW_MICROS,
        log_time_micros: NOW_MICROS,
        ..refusal(reason)
    })
}

fn changed(hold: &HoldRecord, log_time_micros: u64, replayed: bool) -> outcome::Outcome {
    let hold = Some(hold.clone());
    outcome::Outcome::HoldChanged(Box::new(HoldChanged { hold, replayed, log_time_micros }))
}

impl Ledger {
    pub(super) fn hold(&mut self, hold: &HoldCouponCommand) -> outcome::Outcome {
        let now = self.holds.answered_micros;
        if let Some(found) = self.holds.find(&hold.campaign, &hold.request_id) {
            return changed(found, now, true);
        }
        let Some((record, coupons)) = self.export(&hold.campaign) else {
            return refused(RefusalReason::CampaignNotFound);
        };
        let open = self.holds.open(&hold.campaign);
        if open + coupons.len() as u64 >= record.quota {
            return refused(RefusalReason::QuotaHeld);
        }
        let made = HoldRecord {
            recipient: hold.recipient.clone(),
            hold_micros: NOW_MICROS,
            expire_micros: NOW_MICROS + hold.ttl_micros,
            end: None,
        };
        self.holds.all.push((hold.campaign.clone(), hold.request_id.clone(), made.clone()));
        changed(&made, now, false)
    }

    pub(super) fn confirm(&mut self, shard: u32, confirm: &ConfirmHoldCommand) -> outcome::Outcome {
        let request_id = confirm.request_id.clone();
        let Some(hold) = self.holds.find(&confirm.campaign, &confirm.hold_id) else {
            return refused(RefusalReason::HoldNotFound);
        };
        let replayed = match &hold.end {
            Some(End::Confirmation(end)) if end.request_id == request_id => true,
            Some(End::Confirmation(_)) => return refused(RefusalReason::HoldConfirmed),
            Some(End::Release(_)) => return refused(RefusalReason::HoldReleased),
            None => false,
        };
        let end = HoldConfirmation { time_micros: NOW_MICROS, request_id, sequence: 1 };
        hold.end = Some(End::Confirmation(end));
        let issue = IssueCommand {
            campaign: confirm.campaign.clone(),
            recipient: hold.recipient.clone(),
            request_id: confirm.hold_id.clone(),
            metadata: confirm.metadata.clone(),
        };
        let issued = self.issue(shard, &issue);
        let outcome::Outcome::CouponIssued(coupon) = issued else { return issued };
        let coupon = Some(CouponIssued { replayed, ..coupon });
        outcome::Outcome::HoldConfirmed(Box::new(HoldConfirmed { coupon }))
    }

    pub(super) fn release(&mut self, release: &ReleaseHoldCommand) -> outcome::Outcome {
        let (request_id, now) = (release.request_id.clone(), self.holds.answered_micros);
        let Some(hold) = self.holds.find(&release.campaign, &release.hold_id) else {
            return refused(RefusalReason::HoldNotFound);
        };
        match &hold.end {
            Some(End::Release(end)) if end.request_id == request_id => changed(hold, now, true),
            Some(End::Release(_)) => refused(RefusalReason::HoldReleased),
            Some(End::Confirmation(_)) => refused(RefusalReason::HoldConfirmed),
            None => {
                let end = HoldRelease { time_micros: NOW_MICROS, request_id };
                hold.end = Some(End::Release(end));
                changed(hold, now, false)
            }
        }
    }
}
