//! The ledger once more, as plainly as it can be said: lists, searched from one end to the other.
//!
//! It shares the types of commands and outcomes with the ledger, and none of its logic.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_cluster::{CampaignName, Epoch, RequestId, Ring, ShardId, TenantId};
use coupon_ledger::{
    Action, ArchiveCampaign, Campaign, CampaignCounters, CampaignSpec, CampaignStage, Change,
    ChangeKind, Command, Coupon, CouponCode, CouponState, CreateCampaign, CreationTerms,
    EndCampaign, Hold, Issue, IssuedCoupon, LogTime, Outcome, PauseCampaign, RedeemCoupon, Refusal,
    ResumeCampaign, ReverseRedemption, UpdateCampaign, VoidCoupon,
};

use crate::history::{Entry, shard};

mod coupons;
mod deletion;
mod holds;
mod imports;

const BLOCK: u64 = 65_536;

#[derive(Default)]
pub(crate) struct Model {
    epoch: u64,
    ring_shards: Vec<ShardId>,
    now: u64,
    campaigns: Vec<Listed>,
    blocks_taken: u64,
}

/// A campaign, as it was asked for and with what came of it.
struct Listed {
    asked: CreateCampaign,
    created: u64,
    coupons: Vec<IssuedCoupon>,
    /// What it is by now.
    terms: Terms,
    /// The requests to change it, in this order.
    changes: Vec<Action>,
    /// The revision and the time of each change that changed something.
    changed: Vec<(u64, u64)>,
    /// Whether it is no longer what was asked for, its start and pauses aside.
    is_altered: bool,
    sold_out: Option<LogTime>,
    /// Who changed which coupon, and what it was then.
    coupon_changes: Vec<CouponChanged>,
    /// The request that deleted it.
    deleted_by: Option<RequestId>,
    /// All its holds, in the order in which they were made.
    holds: Vec<(RequestId, Hold)>,
    /// How many holds were made and released.
    hold_changes: u64,
    imports: imports::Imports,
}

/// What can be changed about a campaign.
#[derive(Clone, PartialEq)]
struct Terms {
    display_name: String,
    quota: u64,
    start: u64,
    end: Option<LogTime>,
    labels: BTreeMap<String, String>,
    is_paused: bool,
    is_archived: bool,
}

/// A change of a coupon.
struct CouponChanged {
    place: usize,
    request_id: RequestId,
    asked: Asked,
    at: LogTime,
    made: CouponState,
}

/// What was asked to be done with a coupon.
#[derive(Clone, PartialEq)]
enum Asked {
    Redeem(String),
    Reverse,
    Void(String, bool),
}

impl Model {
    pub(crate) fn apply(&mut self, entry: &Entry) -> Vec<Outcome> {
        if entry.stamped.0 > self.now {
            self.now = entry.stamped.0;
        }
        entry.commands.iter().map(|command| self.command(command)).collect()
    }

    fn command(&mut self, command: &Command) -> Outcome {
        let result = match &command.action {
            Action::AdoptRing { epoch, ring_shards } => {
                if epoch.0 > self.epoch {
                    self.epoch = epoch.0;
                    self.ring_shards.clone_from(ring_shards);
                }
                Ok(Outcome::RingAdopted { epoch: Epoch(self.epoch) })
            }
            Action::SkipCounters => Ok(Outcome::CountersSkipped),
            Action::CreateCampaign(create) => self.create(command.epoch, create),
            Action::Issue(issue) => self.issue(command.epoch, issue),
            Action::PauseCampaign(PauseCampaign { campaign, .. })
            | Action::ResumeCampaign(ResumeCampaign { campaign, .. })
            | Action::UpdateCampaign(UpdateCampaign { campaign, .. })
            | Action::EndCampaign(EndCampaign { campaign, .. })
            | Action::ArchiveCampaign(ArchiveCampaign { campaign, .. }) => {
                self.change(command.epoch, campaign, &command.action)
            }
            Action::RedeemCoupon(RedeemCoupon { code, request_id, order_ref }) => {
                let asked = Asked::Redeem(order_ref.clone());
                self.change_coupon(command.epoch, code, *request_id, asked)
            }
            Action::ReverseRedemption(ReverseRedemption { code, request_id }) => {
                self.change_coupon(command.epoch, code, *request_id, Asked::Reverse)
            }
            Action::VoidCoupon(VoidCoupon { code, request_id, reason, return_quota }) => {
                let asked = Asked::Void(reason.clone(), *return_quota);
                self.change_coupon(command.epoch, code, *request_id, asked)
            }
            Action::HoldCoupon(hold) => self.hold(command.epoch, hold),
            Action::ConfirmHold(confirm) => self.confirm(command.epoch, confirm),
            Action::ReleaseHold(release) => self.release(command.epoch, release),
            Action::ImportCodes(import) => self.import(command.epoch, import),
            Action::DeleteCampaign(delete) => self.delete(command.epoch, delete),
            Action::Unreadable => Err(Refusal::Unreadable),
        };
        result.unwrap_or_else(Outcome::Refused)
    }

    fn fence(&self, epoch: Epoch, campaign: &CampaignName) -> Result<(), Refusal> {
        if epoch.0 != self.epoch {
            return Err(Refusal::StaleEpoch { epoch: Epoch(self.epoch) });
        }
        let ring = Ring::new(epoch, self.ring_shards.clone());
        match ring.map(|ring| ring.owner(campaign)) {
            Some(owner) if owner == shard() => Ok(()),
            _ => Err(Refusal::NotOwner { epoch }),
        }
    }

    fn create(&mut self, epoch: Epoch, create: &CreateCampaign) -> Result<Outcome, Refusal> {
        self.fence(epoch, &create.name)?;
        let mut replayed = false;
        let mut place = self.campaigns.iter().position(|listed| listed.asked.name == create.name);
        if let Some(place) = place {
            if self.campaigns[place].deleted_by.is_some() {
                return Err(Refusal::CampaignDeleted);
            }
            let asked = &self.campaigns[place].asked;
            if asked.request_id != create.request_id {
                return Err(Refusal::CampaignExists);
            }
            let with_same_key = CreateCampaign { code_key: asked.code_key, ..create.clone() };
            if *asked != with_same_key {
                return Err(Refusal::RequestIdReused);
            }
            replayed = true;
        } else {
            match create.end {
                Some(end) if end.0 <= self.now => {
                    return Err(Refusal::EndInPast { end, now: LogTime(self.now) });
                }
                Some(end) if end.0 <= create.start.map_or(self.now, |start| start.0) => {
                    return Err(Refusal::EmptyWindow);
                }
                _ => {}
            }
            place = Some(self.campaigns.len());
            let asked = create.clone();
            self.campaigns.push(Listed {
                asked,
                created: self.now,
                coupons: Vec::new(),
                terms: Terms::of(create, self.now),
                changes: Vec::new(),
                changed: vec![(1, self.now)],
                is_altered: false,
                sold_out: None,
                coupon_changes: Vec::new(),
                deleted_by: None,
                holds: Vec::new(),
                hold_changes: 0,
                imports: imports::Imports::default(),
            });
        }
        let campaign = self.campaign(place.unwrap(), self.now);
        Ok(Outcome::CampaignCreated { campaign, now: LogTime(self.now), replayed })
    }

    fn campaign(&self, place: usize, now: u64) -> Campaign {
        let listed = &self.campaigns[place];
        let Listed { asked, created, coupons, terms, changes, changed, sold_out, .. } = listed;
        let count = |is_counted: fn(&CouponState) -> bool| {
            coupons.iter().filter(|issued| is_counted(&issued.state)).count() as u64
        };
        let issued = coupons.len() as u64;
        let asked_terms = CreationTerms {
            display_name: asked.display_name.clone(),
            quota: asked.quota,
            end: asked.end,
            labels: asked.labels.clone(),
        };
        let (updated_revision, updated) = *changed.last().unwrap();
        let spec = CampaignSpec {
            name: asked.name.clone(),
            number: u32::try_from(place).unwrap(),
            display_name: terms.display_name.clone(),
            quota: terms.quota,
            start: LogTime(terms.start),
            requested_start: asked.start,
            end: terms.end,
            per_recipient_limit: asked.per_recipient_limit,
            coupon_ttl_micros: asked.coupon_ttl_micros,
            labels: terms.labels.clone(),
            request_id: asked.request_id,
            code_key: asked.code_key,
            code_scheme: asked.code_scheme,
            code_shard: shard(),
            has_imported_codes: asked.has_imported_codes,
            created: LogTime(*created),
            updated: LogTime(updated),
            updated_revision,
            asked: listed.is_altered.then(|| Box::new(asked_terms)),
            is_paused: terms.is_paused,
            stage: match terms.is_archived {
                true => CampaignStage::Archived,
                false => CampaignStage::InUse,
            },
            changes: changes[changes.len().saturating_sub(16)..].iter().map(remembered).collect(),
        };
        let counters = CampaignCounters {
            issued,
            revision: listed.revision(),
            held: listed.open_holds(now).count() as u64,
            // What it is between is looked at by the test itself.
            hold_ends: None,
            has_holds: !listed.holds.is_empty(),
            imported: listed.imports.codes.len() as u64,
            imports: u32::try_from(listed.imports.next_lines.len()).unwrap(),
            redeemed: count(|state| matches!(state, CouponState::Redeemed { .. })),
            voided: count(|state| matches!(state, CouponState::Voided { .. })),
            returned: count(is_returned),
            next_counter: coupons.last().map_or(0, |last| last.coupon.counter + 1),
            // None while there is no coupon, else what is missing to whole blocks.
            block_left: u32::try_from(issued.next_multiple_of(BLOCK) - issued).unwrap(),
            opened: coupons.first().map(|first| first.coupon.issued_at),
            sold_out: *sold_out,
        };
        Campaign { spec: Arc::new(spec), counters }
    }

    fn change(
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
            listed.changed.push((listed.revision() + 1, now));
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

    fn issue(&mut self, epoch: Epoch, issue: &Issue) -> Result<Outcome, Refusal> {
        let now = self.now;
        let listed = self.listed(epoch, &issue.campaign)?;
        if listed.hold_with(issue.request_id).is_some() {
            return Err(Refusal::RequestIdReused);
        }
        if let Some(before) = listed.by_request(issue.request_id) {
            let Coupon { recipient, metadata, .. } = &before.coupon;
            if (recipient, metadata) != (&issue.recipient, &issue.metadata) {
                return Err(Refusal::RequestIdReused);
            }
            let (issued, now) = (before.clone(), LogTime(now));
            return Ok(Outcome::CouponIssued { issued, now, replayed: true });
        }
        listed.can_be_claimed(&issue.recipient, now)?;
        let issued = self.add_coupon(
            &issue.campaign,
            issue.recipient.clone(),
            issue.request_id,
            issue.metadata.clone(),
        );
        Ok(Outcome::CouponIssued { issued, now: LogTime(now), replayed: false })
    }

    /// The campaign that a command names, if it is there.
    fn listed(&mut self, epoch: Epoch, campaign: &CampaignName) -> Result<&mut Listed, Refusal> {
        self.fence(epoch, campaign)?;
        let mut campaigns = self.campaigns.iter_mut();
        let is_it =
            |listed: &&mut Listed| listed.asked.name == *campaign && listed.deleted_by.is_none();
        campaigns.find(is_it).ok_or(Refusal::CampaignNotFound)
    }
}

fn is_returned(state: &CouponState) -> bool {
    matches!(state, CouponState::Voided { quota_returned: true, .. })
}

impl Terms {
    fn of(create: &CreateCampaign, now: u64) -> Self {
        Self {
            display_name: create.display_name.clone(),
            quota: create.quota,
            start: create.start.map_or(now, |start| start.0),
            end: create.end,
            labels: create.labels.clone(),
            is_paused: false,
            is_archived: false,
        }
    }
}

/// A request to change a campaign, as the campaign remembers it.
fn remembered(action: &Action) -> Change {
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
    /// How many coupons count against the quota.
    fn used(&self) -> u64 {
        self.coupons.iter().filter(|issued| !is_returned(&issued.state)).count() as u64
    }

    fn note_sold_out(&mut self, now: u64) {
        let since = self.sold_out.unwrap_or(LogTime(now));
        let is_sold_out = self.used() >= self.quota_in_force() && !self.coupons.is_empty();
        self.sold_out = is_sold_out.then_some(since);
    }

    fn still_open(&self, now: u64) -> Result<(), Refusal> {
        match self.terms.end {
            Some(end) if end.0 <= now => Err(Refusal::Ended { end, now: LogTime(now) }),
            _ => Ok(()),
        }
    }

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

    fn updated(&self, update: &UpdateCampaign, now: u64) -> Result<Terms, Refusal> {
        let (revision, time) = self.changed.last().unwrap();
        if !update.etag.is_empty() && update.etag != format!("{revision:x}-{time:x}") {
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

    fn by_request(&self, request_id: RequestId) -> Option<&IssuedCoupon> {
        self.coupons.iter().find(|issued| issued.coupon.request_id == request_id)
    }

    fn held_by(&self, recipient: &str) -> Vec<IssuedCoupon> {
        let mut held = self.coupons.clone();
        held.retain(|issued| issued.coupon.recipient == recipient && !is_returned(&issued.state));
        held.iter_mut().for_each(|issued| issued.coupon.metadata.clear());
        held
    }
}
