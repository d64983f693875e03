//! A ledger just good enough to answer a router: quota, window, limit and deduplication.

use std::collections::BTreeMap;

use coupon_cluster::campaign_etag;
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::coupon_change::Change;
use coupon_proto::internal::{
    CampaignChanged, CampaignCounters, CampaignCoupon, CampaignCreated, CampaignDeleted,
    CampaignRecord, CampaignRevision, CampaignStage, CodeNumber, Command, CouponChange,
    CouponChanged, CouponIssued, CouponPlace, CouponRecord, CreateCampaignCommand, IssueCommand,
    ListCouponsQuery, Outcome, ReadRequest, ReadResponse, Redemption, Refusal, RefusalReason,
    Reversal, UpdateCampaignCommand, Voiding, campaign_condition, outcome, read_request,
};

use super::holds::Holds;

/// The log time of everything.
pub const NOW_MICROS: u64 = 1_700_000_000_000_000;

/// How many coupons of a recipient one answer has.
const SEARCHED_MAX: usize = 2;

/// All shards in one.
pub struct Ledger {
    /// The epoch the shards are at.
    pub epoch: u64,
    /// Whether it knows what coupons were at earlier revisions.
    pub knows_revisions: bool,
    /// Which history the shards have.
    pub first_block: u64,
    campaigns: BTreeMap<String, (u32, CampaignRecord, Vec<CouponIssued>)>,
    /// What was done with coupons, by request id.
    changes: Vec<(Vec<u8>, CouponChanged)>,
    pub holds: Holds,
}

impl Ledger {
    pub fn at_epoch(epoch: u64) -> Self {
        Self {
            epoch,
            knows_revisions: true,
            first_block: 0,
            campaigns: BTreeMap::new(),
            changes: Vec::new(),
            holds: Holds::default(),
        }
    }

    pub fn apply(&mut self, shard: u32, command: &Command) -> Outcome {
        let outcome = if command.epoch == self.epoch {
            match command.operation.as_ref().expect("the router sends commands") {
                Operation::CreateCampaign(create) => self.create(shard, create),
                Operation::Issue(issue) => self.issue(shard, issue),
                Operation::PauseCampaign(pause) => self.pause(&pause.campaign, true),
                Operation::ResumeCampaign(resume) => self.pause(&resume.campaign, false),
                Operation::UpdateCampaign(update) => self.update(update),
                Operation::ArchiveCampaign(archive) => self.change(&archive.campaign, |record| {
                    record.stage = CampaignStage::Archived.into();
                }),
                Operation::DeleteCampaign(delete) => {
                    match self.campaigns.remove(&delete.campaign) {
                        Some(_) => outcome::Outcome::CampaignDeleted(CampaignDeleted::default()),
                        None => outcome::Outcome::Refusal(refusal(RefusalReason::CampaignNotFound)),
                    }
                }
                Operation::EndCampaign(end) => {
                    self.change(&end.campaign, |record| record.end_micros = NOW_MICROS)
                }
                Operation::RedeemCoupon(redeem) => {
                    let redemption = Redemption { order_ref: redeem.order_ref.clone() };
                    let change = Change::Redemption(redemption);
                    self.change_coupon(shard, redeem.code.as_ref(), &redeem.request_id, change)
                }
                Operation::ReverseRedemption(reverse) => {
                    let change = Change::Reversal(Reversal {});
                    self.change_coupon(shard, reverse.code.as_ref(), &reverse.request_id, change)
                }
                Operation::HoldCoupon(hold) => self.hold(hold),
                Operation::ConfirmHold(confirm) => self.confirm(shard, confirm),
                Operation::ReleaseHold(release) => self.release(release),
                Operation::VoidCoupon(void) => {
                    let voiding =
                        Voiding { reason: void.reason.clone(), quota_returned: void.return_quota };
                    let change = Change::Voiding(voiding);
                    self.change_coupon(shard, void.code.as_ref(), &void.request_id, change)
                }
            }
        } else {
            outcome::Outcome::Refusal(self.stale())
        };
        Outcome { outcome: Some(outcome) }
    }

    fn stale(&self) -> Refusal {
        Refusal { epoch: self.epoch, ..refusal(RefusalReason::StaleEpoch) }
    }

    fn create(&mut self, shard: u32, create: &CreateCampaignCommand) -> outcome::Outcome {
        if let Some((_, existing, _)) = self.campaigns.get(&create.name) {
            let replayed = existing.request_id == create.request_id;
            let campaign = Some(existing.clone());
            let created = CampaignCreated { campaign, replayed, log_time_micros: NOW_MICROS };
            return if replayed {
                outcome::Outcome::CampaignCreated(created.into())
            } else {
                outcome::Outcome::Refusal(refusal(RefusalReason::CampaignExists))
            };
        }
        let number = u32::try_from(self.campaigns.len()).expect("a test makes few campaigns");
        let record = record(shard, number, create);
        let entry = (shard, record.clone(), Vec::new());
        self.campaigns.insert(create.name.clone(), entry);
        let campaign = Some(record);
        let created = CampaignCreated { campaign, replayed: false, log_time_micros: NOW_MICROS };
        outcome::Outcome::CampaignCreated(created.into())
    }

    fn pause(&mut self, campaign: &str, paused: bool) -> outcome::Outcome {
        self.change(campaign, |record| record.paused = paused)
    }

    fn update(&mut self, update: &UpdateCampaignCommand) -> outcome::Outcome {
        if let Some((_, record, _)) = self.campaigns.get(&update.campaign) {
            let etag = campaign_etag(record.update_revision, record.update_micros);
            if !update.etag.is_empty() && update.etag != etag {
                return outcome::Outcome::Refusal(refusal(RefusalReason::EtagMismatch));
            }
        }
        self.change(&update.campaign, |record| {
            record.quota = update.quota.unwrap_or(record.quota);
            record.start_micros = update.start_micros.unwrap_or(record.start_micros);
            record.end_micros = update.end_micros.unwrap_or(record.end_micros);
            if let Some(name) = &update.display_name {
                record.display_name.clone_from(name);
            }
            if let Some(labels) = &update.labels {
                record.labels.clone_from(&labels.labels);
            }
        })
    }

    fn change(
        &mut self,
        campaign: &str,
        change: impl FnOnce(&mut CampaignRecord),
    ) -> outcome::Outcome {
        let Some((_, record, _)) = self.campaigns.get_mut(campaign) else {
            return outcome::Outcome::Refusal(refusal(RefusalReason::CampaignNotFound));
        };
        change(record);
        record.update_revision += 1;
        let campaign = Some(record.clone());
        let changed = CampaignChanged { campaign, replayed: false, log_time_micros: NOW_MICROS };
        outcome::Outcome::CampaignChanged(changed.into())
    }

    pub(super) fn issue(&mut self, shard: u32, issue: &IssueCommand) -> outcome::Outcome {
        let Some((_, record, coupons)) = self.campaigns.get_mut(&issue.campaign) else {
            return outcome::Outcome::Refusal(refusal(RefusalReason::CampaignNotFound));
        };
        let coupon = |issued: &CouponIssued| issued.coupon.clone().expect("coupons are kept");
        if let Some(earlier) = coupons.iter().find(|c| coupon(c).request_id == issue.request_id) {
            return outcome::Outcome::CouponIssued(CouponIssued {
                replayed: true,
                log_time_micros: NOW_MICROS,
                ..earlier.clone()
            });
        }
        if record.paused {
            return outcome::Outcome::Refusal(refusal(RefusalReason::Paused));
        }
        if NOW_MICROS < record.start_micros {
            return outcome::Outcome::Refusal(Refusal {
                time_micros: record.start_micros,
                log_time_micros: NOW_MICROS,
                ..refusal(RefusalReason::NotStarted)
            });
        }
        if record.per_recipient_limit != 0 && issue.recipient.is_empty() {
            return outcome::Outcome::Refusal(refusal(RefusalReason::RecipientRequired));
        }
        let theirs = coupons.iter().filter(|c| coupon(c).recipient == issue.recipient);
        let held: Vec<_> = theirs.cloned().collect();
        let limit = record.per_recipient_limit as usize;
        if limit != 0 && held.len() >= limit {
            return outcome::Outcome::Refusal(Refusal {
                held,
                log_time_micros: NOW_MICROS,
                ..refusal(RefusalReason::RecipientLimitReached)
            });
        }
        let counters = record.counters.as_mut().expect("campaigns are made with counters");
        if counters.issued == record.quota {
            return outcome::Outcome::Refusal(refusal(RefusalReason::SoldOut));
        }
        counters.issued += 1;
        counters.revision += 1;
        let issued = CouponIssued {
            coupon: Some(CouponRecord {
                counter: counters.issued + 4_096 * u64::from(record.number),
                recipient: issue.recipient.clone(),
                request_id: issue.request_id.clone(),
                issue_micros: NOW_MICROS,
                expire_micros: match record.coupon_ttl_micros {
                    0 => 0,
                    ttl => NOW_MICROS + ttl,
                },
                metadata: issue.metadata.clone(),
            }),
            sequence: counters.issued,
            replayed: false,
            log_time_micros: 0,
            code_shard_id: shard,
            code_key_id: record.code_key_id,
            code_scheme: record.code_scheme.clone().map(Box::new),
            last_change: None,
        };
        coupons.push(issued.clone());
        outcome::Outcome::CouponIssued(issued)
    }

    /// The coupon of a code, with its campaign.
    fn find(&self, shard: u32, code: &CodeNumber) -> Option<CampaignCoupon> {
        self.campaigns.values().find_map(|(_, record, coupons)| {
            let is_it = |issued: &&CouponIssued| {
                let counter = issued.coupon.as_ref().map(|coupon| coupon.counter);
                let of = (issued.code_shard_id, issued.code_key_id, counter);
                of == (code.shard_id, code.key_id, Some(code.counter)) && shard == code.shard_id
            };
            let coupon = Some(coupons.iter().find(is_it)?.clone());
            Some(CampaignCoupon { campaign_id: id_of(record).to_owned(), coupon })
        })
    }

    fn change_coupon(
        &mut self,
        shard: u32,
        code: Option<&CodeNumber>,
        request_id: &[u8],
        change: Change,
    ) -> outcome::Outcome {
        let Some(mut found) = self.find(shard, code.expect("commands have codes")) else {
            return outcome::Outcome::Refusal(refusal(RefusalReason::CouponNotFound));
        };
        if let Some((_, changed)) = self.changes.iter().find(|(made, _)| made == request_id) {
            return outcome::Outcome::CouponChanged(Box::new(CouponChanged {
                replayed: true,
                ..changed.clone()
            }));
        }
        let issued = found.coupon.as_mut().expect("it was found");
        let is = issued.last_change.clone().and_then(|change| change.change);
        let refused = match (&change, is) {
            (Change::Reversal(_), Some(Change::Redemption(_)))
            | (Change::Redemption(_) | Change::Voiding(_), None) => None,
            (Change::Reversal(_), _) => Some(RefusalReason::NotRedeemed),
            (_, Some(Change::Voiding(_))) => Some(RefusalReason::CouponVoided),
            (_, Some(_)) => Some(RefusalReason::AlreadyRedeemed),
        };
        if let Some(reason) = refused {
            let refused = Refusal { time_micros: NOW_MICROS, ..refusal(reason) };
            return outcome::Outcome::Refusal(refused);
        }
        let last = !matches!(change, Change::Reversal(_));
        issued.last_change = last.then(|| {
            Box::new(CouponChange {
                time_micros: NOW_MICROS,
                change: Some(change),
                ..Default::default()
            })
        });
        let (changed, name) = (issued.clone(), format!("default/{}", found.campaign_id));
        let (_, _, coupons) = self.campaigns.get_mut(&name).expect("it was found");
        let place = coupons.iter_mut().find(|one| one.sequence == changed.sequence);
        *place.expect("it was found") = changed;
        let changed =
            CouponChanged { coupon: Some(found), time_micros: NOW_MICROS, replayed: false };
        self.changes.push((request_id.to_owned(), changed.clone()));
        outcome::Outcome::CouponChanged(changed.into())
    }

    pub fn read(&self, request: &ReadRequest) -> ReadResponse {
        let (log_time_micros, first_block) = (NOW_MICROS, self.first_block);
        let mut response = ReadResponse { log_time_micros, first_block, ..Default::default() };
        if request.epoch != self.epoch {
            response.refusal = Some(self.stale());
            return response;
        }
        let here = self.campaigns.values().filter(|(shard, ..)| *shard == request.shard_id);
        match request.query.as_ref().expect("the router asks something") {
            read_request::Query::GetCampaign(query) => match self.export(&query.campaign) {
                Some((campaign, _)) => response.campaigns.push(campaign),
                None => response.refusal = Some(refusal(RefusalReason::CampaignNotFound)),
            },
            read_request::Query::GetCampaignByNumber(query) => {
                let mut here = here.map(|(_, record, _)| record);
                match here.find(|record| record.number == query.number) {
                    Some(campaign) => response.campaigns.push(campaign.clone()),
                    None => response.refusal = Some(refusal(RefusalReason::CampaignNotFound)),
                }
            }
            read_request::Query::GetCoupon(query) => {
                let campaign = self.export(&query.campaign);
                let coupons =
                    campaign.map(|(record, coupons)| (id_of(&record).to_owned(), coupons));
                let found = coupons.and_then(|(campaign_id, coupons)| {
                    let coupon = coupons.into_iter().find(|one| one.sequence == query.sequence)?;
                    Some(CampaignCoupon { campaign_id, coupon: Some(coupon) })
                });
                show(&mut response, found);
            }
            read_request::Query::FindCoupon(code) => {
                let found = self.find(request.shard_id, code);
                let issued = found.as_ref().and_then(|found| found.coupon.as_ref());
                let last = issued.and_then(|issued| issued.last_change.as_ref());
                response.redemption_refusal = last.map(|change| Refusal {
                    time_micros: change.time_micros,
                    ..refusal(RefusalReason::AlreadyRedeemed)
                });
                show(&mut response, found);
            }
            read_request::Query::ListCampaigns(query) => {
                let after = here.filter(|(_, record, _)| *id_of(record) > *query.after);
                // Only labels are looked at.
                let wanted = after.filter(|(_, record, _)| {
                    query.conditions.iter().all(|condition| match &condition.condition {
                        Some(campaign_condition::Condition::Label(label)) => {
                            (record.labels.get(&label.key) == label.value.as_ref())
                                != condition.negated
                        }
                        Some(campaign_condition::Condition::State(_)) | None => true,
                    })
                });
                let mut found: Vec<_> = wanted.map(|(_, record, _)| record.clone()).collect();
                response.more = found.len() > query.limit as usize;
                found.truncate(query.limit as usize);
                response.campaigns = found;
            }
            read_request::Query::CheckCreation(create) => match self.export(&create.name) {
                Some(_) => response.refusal = Some(refusal(RefusalReason::CampaignExists)),
                None => response.campaigns.push(record(request.shard_id, 0, create)),
            },
            read_request::Query::ListCoupons(query) => {
                self.list(request.shard_id, query, &mut response);
            }
        }
        response
    }

    fn list(&self, shard_id: u32, query: &ListCouponsQuery, response: &mut ReadResponse) {
        let here = self.campaigns.values().filter(|(shard, ..)| *shard == shard_id);
        if !query.campaign_id.is_empty()
            && self.export(&format!("{}/{}", query.tenant, query.campaign_id)).is_none()
        {
            response.refusal = Some(refusal(RefusalReason::CampaignNotFound));
            return;
        }
        let is_of_history = |as_of: CampaignRevision| as_of.first_block == self.first_block;
        if query.as_of.is_some_and(|as_of| !self.knows_revisions || !is_of_history(as_of)) {
            response.refusal = Some(refusal(RefusalReason::RevisionGone));
            return;
        }
        let issued = query.as_of.map_or(u64::MAX, |as_of| as_of.issued);
        let after = query.after.unwrap_or_default();
        let after = (after.campaign_number, after.sequence);
        let mut found = BTreeMap::new();
        for (_, record, coupons) in here {
            for coupon in coupons {
                let place = (record.number, coupon.sequence);
                let is_after = if query.campaign_id.is_empty() {
                    place > after
                } else {
                    query.campaign_id == id_of(record) && place.1 > after.1
                };
                let holder = &coupon.coupon.as_ref().expect("coupons are kept").recipient;
                let is_wanted = is_after && coupon.sequence <= issued;
                if is_wanted && (query.recipient.is_empty() || query.recipient == *holder) {
                    let campaign_id = id_of(record).to_owned();
                    let coupon = Some(coupon.clone());
                    found.insert(place, CampaignCoupon { campaign_id, coupon });
                }
            }
        }
        let mut page_max = query.limit as usize;
        if query.campaign_id.is_empty() {
            // As a node that has looked at many places.
            page_max = page_max.min(SEARCHED_MAX);
        }
        response.more = found.len() > page_max;
        let shown = found.into_iter().take(page_max);
        for ((campaign_number, sequence), coupon) in shown {
            response.last_place = Some(CouponPlace { campaign_number, sequence });
            response.coupons.push(coupon);
        }
    }

    /// Issues the first `count` coupons of a campaign.
    pub fn fill(&mut self, campaign: &str, count: u64) {
        let (shard, record, coupons) = self.campaigns.get_mut(campaign).expect("it exists");
        record.counters.as_mut().expect("campaigns are made with counters").issued = count;
        coupons.extend((1..=count).map(|sequence| CouponIssued {
            coupon: Some(CouponRecord {
                counter: sequence,
                request_id: vec![1; 16],
                issue_micros: NOW_MICROS,
                ..Default::default()
            }),
            sequence,
            code_shard_id: *shard,
            code_key_id: record.code_key_id,
            ..Default::default()
        }));
    }

    pub fn export(&self, campaign: &str) -> Option<(CampaignRecord, Vec<CouponIssued>)> {
        let (_, record, coupons) = self.campaigns.get(campaign)?;
        Some((record.clone(), coupons.clone()))
    }
}

pub fn refusal(reason: RefusalReason) -> Refusal {
    Refusal { reason: reason.into(), ..Default::default() }
}

fn show(response: &mut ReadResponse, found: Option<CampaignCoupon>) {
    if found.is_none() {
        response.refusal = Some(refusal(RefusalReason::CouponNotFound));
    }
    response.coupons.extend(found);
}

/// The id in the name of a campaign.
fn id_of(campaign: &CampaignRecord) -> &str {
    campaign.name.split_once('/').map_or("", |(_, id)| id)
}

/// A campaign that was just created.
fn record(shard: u32, number: u32, create: &CreateCampaignCommand) -> CampaignRecord {
    CampaignRecord {
        name: create.name.clone(),
        display_name: create.display_name.clone(),
        quota: create.quota,
        start_micros: if create.start_micros == 0 { NOW_MICROS } else { create.start_micros },
        end_micros: create.end_micros,
        per_recipient_limit: create.per_recipient_limit,
        coupon_ttl_micros: create.coupon_ttl_micros,
        labels: create.labels.clone(),
        request_id: create.request_id.clone(),
        code_key_id: create.code_key_id,
        code_scheme: create.code_scheme.clone(),
        number,
        create_micros: NOW_MICROS,
        code_shard_id: shard,
        counters: Some(CampaignCounters { revision: 1, ..Default::default() }),
        ..Default::default()
    }
}
