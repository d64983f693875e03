//! The ledger once more, as plainly as it can be said: lists, searched from one end to the other.
//!
//! It shares the types of commands and outcomes with the ledger, and none of its logic.

use std::sync::Arc;

use coupon_cluster::{CampaignName, Epoch, RequestId, Ring, ShardId};
use coupon_ledger::{
    Action, Campaign, CampaignCounters, CampaignSpec, Change, ChangeKind, Command, Coupon,
    CreateCampaign, Issue, IssuedCoupon, LogTime, Outcome, PauseCampaign, Refusal, ResumeCampaign,
};

use crate::history::{Entry, shard};

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
    /// Who paused and resumed it, in this order, and which of the two.
    switches: Vec<(RequestId, bool)>,
    /// How often that changed something.
    switched: u64,
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
            Action::PauseCampaign(PauseCampaign { campaign, request_id }) => {
                self.pause(command.epoch, campaign, *request_id, true)
            }
            Action::ResumeCampaign(ResumeCampaign { campaign, request_id }) => {
                self.pause(command.epoch, campaign, *request_id, false)
            }
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
                switches: Vec::new(),
                switched: 0,
            });
        }
        let campaign = self.campaign(place.unwrap());
        Ok(Outcome::CampaignCreated { campaign, replayed })
    }

    fn campaign(&self, place: usize) -> Campaign {
        let Listed { asked, created, coupons, switches, switched } = &self.campaigns[place];
        let issued = coupons.len() as u64;
        let spec = CampaignSpec {
            name: asked.name.clone(),
            number: u32::try_from(place).unwrap(),
            display_name: asked.display_name.clone(),
            quota: asked.quota,
            start: LogTime(self.campaigns[place].start()),
            requested_start: asked.start,
            end: asked.end,
            per_recipient_limit: asked.per_recipient_limit,
            coupon_ttl_micros: asked.coupon_ttl_micros,
            labels: asked.labels.clone(),
            request_id: asked.request_id,
            code_key: asked.code_key,
            code_scheme: asked.code_scheme,
            code_shard: shard(),
            created: LogTime(*created),
            is_paused: self.campaigns[place].is_paused(),
            changes: switches[switches.len().saturating_sub(16)..]
                .iter()
                .map(|(request_id, pause)| Change {
                    request_id: *request_id,
                    kind: if *pause { ChangeKind::Pause } else { ChangeKind::Resume },
                })
                .collect(),
        };
        let counters = CampaignCounters {
            issued,
            revision: issued + switched + 1,
            next_counter: coupons.last().map_or(0, |last| last.coupon.counter + 1),
            // None while there is no coupon, else what is missing to whole blocks.
            block_left: u32::try_from(issued.next_multiple_of(BLOCK) - issued).unwrap(),
        };
        Campaign { spec: Arc::new(spec), counters }
    }

    fn pause(
        &mut self,
        epoch: Epoch,
        campaign: &CampaignName,
        request_id: RequestId,
        wanted: bool,
    ) -> Result<Outcome, Refusal> {
        self.fence(epoch, campaign)?;
        let place = self.campaigns.iter().position(|listed| listed.asked.name == *campaign);
        let place = place.ok_or(Refusal::CampaignNotFound)?;
        let now = LogTime(self.now);
        let listed = &mut self.campaigns[place];
        let mut latest = listed.switches.iter().rev().take(16);
        let before = latest.find(|(request, _)| *request == request_id);
        if before.is_some_and(|(_, paused)| *paused != wanted) {
            return Err(Refusal::RequestIdReused);
        }
        let replayed = before.is_some();
        if !replayed {
            match listed.asked.end {
                Some(end) if end <= now => return Err(Refusal::Ended { end, now }),
                _ => {}
            }
            if listed.is_paused() != wanted {
                listed.switched += 1;
            }
            listed.switches.push((request_id, wanted));
        }
        Ok(Outcome::CampaignChanged { campaign: self.campaign(place), replayed })
    }

    fn issue(&mut self, epoch: Epoch, issue: &Issue) -> Result<Outcome, Refusal> {
        self.fence(epoch, &issue.campaign)?;
        let now = self.now;
        let listed = self.campaigns.iter_mut().find(|listed| listed.asked.name == issue.campaign);
        let listed = listed.ok_or(Refusal::CampaignNotFound)?;
        if let Some(before) = listed.by_request(issue.request_id) {
            let Coupon { recipient, metadata, .. } = &before.coupon;
            if (recipient, metadata) != (&issue.recipient, &issue.metadata) {
                return Err(Refusal::RequestIdReused);
            }
            return Ok(Outcome::CouponIssued { issued: before.clone(), replayed: true });
        }
        let limit = listed.asked.per_recipient_limit as usize;
        if limit > 0 {
            if issue.recipient.is_empty() {
                return Err(Refusal::RecipientRequired);
            }
            let held = listed.held_by(&issue.recipient);
            if held.len() >= limit {
                return Err(Refusal::RecipientLimitReached { held });
            }
        }
        match listed.asked.end {
            Some(end) if end.0 <= now => return Err(Refusal::Ended { end, now: LogTime(now) }),
            _ => {}
        }
        if listed.is_paused() {
            return Err(Refusal::Paused);
        }
        if now < listed.start() {
            let start = LogTime(listed.start());
            return Err(Refusal::NotStarted { start, now: LogTime(now) });
        }
        let issued = listed.coupons.len() as u64;
        if issued >= listed.asked.quota {
            return Err(Refusal::SoldOut);
        }
        let counter = if issued.is_multiple_of(BLOCK) {
            self.blocks_taken += 1;
            (self.blocks_taken - 1) * BLOCK
        } else {
            listed.coupons.last().unwrap().coupon.counter + 1
        };
        let ttl = listed.asked.coupon_ttl_micros;
        let coupon = Coupon {
            counter,
            recipient: issue.recipient.clone(),
            request_id: issue.request_id,
            issued_at: LogTime(now),
            expires_at: ttl.map(|ttl| LogTime(now.saturating_add(ttl))),
            metadata: issue.metadata.clone(),
        };
        let CreateCampaign { code_key, code_scheme, .. } = listed.asked;
        let (sequence, code_shard) = (issued + 1, shard());
        let issued = IssuedCoupon { coupon, sequence, code_shard, code_key, code_scheme };
        listed.coupons.push(issued.clone());
        Ok(Outcome::CouponIssued { issued, replayed: false })
    }
}

impl Listed {
    fn is_paused(&self) -> bool {
        self.switches.last().is_some_and(|(_, paused)| *paused)
    }

    fn start(&self) -> u64 {
        self.asked.start.map_or(self.created, |start| start.0)
    }

    fn by_request(&self, request_id: RequestId) -> Option<&IssuedCoupon> {
        self.coupons.iter().find(|issued| issued.coupon.request_id == request_id)
    }

    fn held_by(&self, recipient: &str) -> Vec<IssuedCoupon> {
        let mut held = self.coupons.clone();
        held.retain(|issued| issued.coupon.recipient == recipient);
        held.truncate(coupon_ledger::HELD_SHOWN_MAX);
        held.iter_mut().for_each(|issued| issued.coupon.metadata.clear());
        held
    }
}
