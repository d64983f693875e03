//! Questions, and what the model answers.

use coupon_cluster::{CampaignName, CampaignState, TenantId};
use coupon_ledger::{
    Command, CouponCode, CreateCampaign, IssuedCoupon, LogTime, Outcome, Refusal,
    redemption_refusal,
};
use coupon_node::codec::{event, hold, outcome, row};
use coupon_proto::internal as pb;
use coupon_wire::campaign::state_to_pb;
use pb::campaign_condition::Condition;
use pb::event_record::Event as Kind;
use pb::read_request::Query;

use super::encode;
use crate::history::Entry;
use crate::model::{Happened, Model};

/// Maximum number of items in an answer: all there are.
pub(super) const ALL: u32 = 1_000;

/// A question.
#[derive(Clone, Debug)]
pub(super) enum Read {
    /// One campaign.
    Campaign(CampaignName),
    /// One campaign, by its number.
    Number(u32),
    /// Some campaigns whose ids are greater than one: those in a state, if there is one.
    Campaigns { after: String, state: Option<CampaignState>, limit: u32 },
    /// Some coupons of a campaign after a sequence number, of one recipient if that is not empty.
    Coupons { campaign: CampaignName, recipient: String, after: u64, limit: u32 },
    /// The coupons of a campaign as they were at a revision, when as many were issued.
    CouponsAt { campaign: CampaignName, revision: u64, issued: u64 },
    /// The coupons of a recipient in the campaigns with this number and greater ones.
    Holder { recipient: String, from: u32 },
    /// A coupon by its sequence number.
    Coupon(CampaignName, u64),
    /// A coupon by its code.
    Code(CouponCode),
    /// What creating a campaign would come to, by a router of an epoch.
    Creation(Box<Command>, Box<CreateCampaign>),
    /// What happened to a campaign after a revision.
    Events(CampaignName, u64),
}

impl Read {
    /// As a router asks it.
    pub(super) fn query(&self) -> Query {
        let tenant = TenantId::default().to_string();
        match self {
            Self::Campaign(name) => {
                Query::GetCampaign(pb::GetCampaignQuery { campaign: name.to_string() })
            }
            Self::Number(number) => {
                Query::GetCampaignByNumber(pb::GetCampaignByNumberQuery { tenant, number: *number })
            }
            Self::Campaigns { after, state, limit } => {
                let state = state.map(|state| Condition::State(state_to_pb(state).into()));
                let condition = |condition| pb::CampaignCondition {
                    negated: false,
                    condition: Some(condition),
                };
                Query::ListCampaigns(pb::ListCampaignsQuery {
                    tenant,
                    after: after.clone(),
                    limit: *limit,
                    conditions: state.into_iter().map(condition).collect(),
                })
            }
            Self::Coupons { campaign, recipient, after, limit } => {
                Query::ListCoupons(pb::ListCouponsQuery {
                    tenant,
                    campaign_id: campaign.id().to_owned(),
                    recipient: recipient.clone(),
                    after: Some(pb::CouponPlace { campaign_number: 0, sequence: *after }),
                    limit: *limit,
                    as_of: None,
                })
            }
            Self::CouponsAt { campaign, revision, issued } => {
                let (revision, issued) = (*revision, *issued);
                let as_of = pb::CampaignRevision { revision, issued, history_id: 0 };
                Query::ListCoupons(pb::ListCouponsQuery {
                    tenant,
                    campaign_id: campaign.id().to_owned(),
                    limit: ALL,
                    as_of: Some(as_of),
                    ..Default::default()
                })
            }
            Self::Holder { recipient, from } => Query::ListCoupons(pb::ListCouponsQuery {
                tenant,
                recipient: recipient.clone(),
                after: Some(pb::CouponPlace { campaign_number: *from, sequence: 0 }),
                limit: ALL,
                ..Default::default()
            }),
            Self::Coupon(name, sequence) => Query::GetCoupon(pb::GetCouponQuery {
                campaign: name.to_string(),
                sequence: *sequence,
            }),
            Self::Code(CouponCode::Generated(number)) => {
                Query::FindCoupon(encode::code_number(number))
            }
            Self::Code(CouponCode::OfCampaign(code)) => {
                Query::FindCouponInCampaign(encode::campaign_code(code))
            }
            Self::Creation(_, create) => {
                Query::CheckCreation(encode::create_campaign(CreateCampaign::clone(create)))
            }
            Self::Events(name, after) => Query::ListEvents(pb::ListEventsQuery {
                campaign: name.to_string(),
                after_revision: *after,
                limit: ALL,
            }),
        }
    }

    /// The answer of a model at a time, or at log time if that is later.
    pub(super) fn expected(&self, model: &Model, time: u64) -> pb::ReadResponse {
        let now = model.now().0.max(time);
        let found = self.found(model, now);
        let mut answer = found.unwrap_or_else(|refusal| pb::ReadResponse {
            refusal: Some(outcome::refusal_to_pb(refusal)),
            ..Default::default()
        });
        answer.log_time_micros = now;
        answer
    }

    fn found(&self, model: &Model, now: u64) -> Result<pb::ReadResponse, Refusal> {
        let mut answer = pb::ReadResponse::default();
        match self {
            Self::Campaign(name) => {
                let mut all = model.campaigns(now).into_iter();
                let found = all.find(|campaign| campaign.spec.name == *name);
                answer.campaigns =
                    vec![row::campaign_to_pb(&found.ok_or(Refusal::CampaignNotFound)?)];
            }
            Self::Number(number) => {
                let mut all = model.campaigns(now).into_iter();
                let found = all.find(|campaign| campaign.spec.number == *number);
                answer.campaigns =
                    vec![row::campaign_to_pb(&found.ok_or(Refusal::CampaignNotFound)?)];
            }
            Self::Campaigns { after, state, limit } => {
                let mut all = model.campaigns(now);
                all.retain(|campaign| {
                    let name = &campaign.spec.name;
                    name.id() > after.as_str()
                        && (state.is_none() || model.state(name, now) == *state)
                });
                answer.more = cut(&mut all, *limit);
                answer.campaigns = all.iter().map(row::campaign_to_pb).collect();
            }
            Self::Coupons { campaign, recipient, after, limit } => {
                let mut coupons = model.coupons(campaign).ok_or(Refusal::CampaignNotFound)?;
                coupons.retain(|found| {
                    let is_wanted = recipient.is_empty() || found.coupon.recipient == *recipient;
                    is_wanted && found.sequence > *after
                });
                answer.more = cut(&mut coupons, *limit);
                show(&mut answer, model, campaign, coupons);
            }
            Self::CouponsAt { campaign, revision, issued } => {
                let events = model.events(campaign).ok_or(Refusal::CampaignNotFound)?;
                if *revision > events.len() as u64 {
                    let reason = pb::RefusalReason::RevisionGone.into();
                    answer.refusal = Some(pb::Refusal { reason, ..Default::default() });
                    return Ok(answer);
                }
                let mut coupons = coupons_at(events, *revision);
                coupons.retain(|coupon| coupon.sequence <= *issued);
                show(&mut answer, model, campaign, coupons);
            }
            Self::Holder { recipient, from } => {
                let coupons = model.coupons_of(recipient, *from);
                let coupons = coupons.into_iter();
                answer.coupons = coupons.map(|(name, found)| shown(&name, found)).collect();
            }
            Self::Coupon(name, sequence) => {
                let coupons = model.coupons(name).ok_or(Refusal::CampaignNotFound)?;
                let found = coupons.into_iter().find(|found| found.sequence == *sequence);
                answer.coupons = vec![shown(name, found.ok_or(Refusal::CouponNotFound)?)];
            }
            Self::Code(code) => {
                let (name, found) = match code {
                    CouponCode::Generated(number) => {
                        model.find(number).ok_or(Refusal::CouponNotFound)?
                    }
                    CouponCode::OfCampaign(code) => (code.campaign.clone(), model.find_in(code)?),
                };
                let refusal = redemption_refusal(&found.coupon, &found.state, LogTime(now));
                answer.redemption_refusal = refusal.map(outcome::refusal_to_pb);
                answer.coupons = vec![shown(&name, found)];
            }
            Self::Creation(command, _) => {
                let entry =
                    Entry { stamped: LogTime(now), commands: vec![Command::clone(command)] };
                match model.clone().apply(&entry).remove(0) {
                    Outcome::CampaignCreated { campaign, replayed, .. } => {
                        answer.campaigns = vec![row::campaign_to_pb(&campaign)];
                        answer.replayed = replayed;
                    }
                    Outcome::Refused(refusal) => return Err(refusal),
                    other @ (Outcome::CampaignChanged { .. }
                    | Outcome::CampaignDeleted { .. }
                    | Outcome::CouponIssued { .. }
                    | Outcome::CouponChanged { .. }
                    | Outcome::HoldChanged { .. }
                    | Outcome::HoldConfirmed { .. }
                    | Outcome::CodesImported { .. }
                    | Outcome::RingAdopted { .. }
                    | Outcome::CountersSkipped) => panic!("{command:?}: {other:?}"),
                }
            }
            Self::Events(name, after) => {
                let events = model.events(name).ok_or(Refusal::CampaignNotFound)?;
                answer.revision = events.len() as u64;
                let mut issued = 0;
                let events = (1..).zip(events).map(|(revision, happened)| {
                    issued += u64::from(matches!(happened, Happened::Issue { .. }));
                    told(revision, issued, happened)
                });
                answer.events = events.filter(|event| event.revision > *after).collect();
            }
        }
        Ok(answer)
    }

    /// Whether an answer is what a model said, but for what the model does not know: how far the search of an index went,
    /// which entry an event is of, and which hold the shard looks at next.
    pub(super) fn is_answered_so(
        &self,
        answer: &pb::ReadResponse,
        said: &pb::ReadResponse,
    ) -> bool {
        let mut exact = answer.clone();
        if matches!(self, Self::Holder { .. }) {
            exact.last_place = None;
        }
        for (answer, said) in exact.campaigns.iter_mut().zip(&said.campaigns) {
            exact_campaign(Some(answer), Some(said), exact.log_time_micros);
        }
        for event in &mut exact.events {
            event.record.iter_mut().for_each(|record| record.log_index = 0);
        }
        exact == *said
    }
}

/// Takes what a model knows of a campaign where the answer leaves it open: none of the holds ends earlier than the answer
/// says.
pub(super) fn exact_campaign(
    answer: Option<&mut pb::CampaignRecord>,
    said: Option<&pb::CampaignRecord>,
    now: u64,
) {
    if let Some(pb::CampaignRecord { counters: Some(answer), .. }) = answer
        && let Some(pb::CampaignRecord { counters: Some(said), .. }) = said
        && (now + 1..=said.first_hold_end_micros).contains(&answer.first_hold_end_micros)
    {
        answer.first_hold_end_micros = said.first_hold_end_micros;
    }
}

/// Leaves as many items as a page has. Returns whether there are more.
fn cut<T>(items: &mut Vec<T>, limit: u32) -> bool {
    let is_longer = items.len() > limit as usize;
    items.truncate(limit as usize);
    is_longer
}

/// All coupons by the events of a campaign: those that were issued by a revision as they were then.
fn coupons_at(events: Vec<Happened>, revision: u64) -> Vec<IssuedCoupon> {
    let mut coupons: Vec<IssuedCoupon> = Vec::new();
    for (made, happened) in (1..).zip(events) {
        match happened {
            Happened::Issue { coupon, .. } => coupons.push(coupon),
            Happened::Event { coupon: Some(changed), .. } if made <= revision => {
                let found = coupons.iter_mut().find(|one| one.sequence == changed.sequence);
                *found.unwrap() = changed;
            }
            Happened::Event { .. } => {}
        }
    }
    coupons
}

/// Shows the coupons of a campaign, and where they end.
fn show(
    answer: &mut pb::ReadResponse,
    model: &Model,
    campaign: &CampaignName,
    coupons: Vec<IssuedCoupon>,
) {
    let mut all = model.campaigns(0).into_iter();
    let campaign_number = all.find(|one| one.spec.name == *campaign).unwrap().spec.number;
    let last = coupons.last().map(|last| last.sequence);
    answer.last_place = last.map(|sequence| pb::CouponPlace { campaign_number, sequence });
    answer.coupons = coupons.into_iter().map(|found| shown(campaign, found)).collect();
}

fn shown(name: &CampaignName, found: IssuedCoupon) -> pb::CampaignCoupon {
    let coupon = Some(outcome::issued_to_pb(found));
    pb::CampaignCoupon { campaign_id: name.id().to_owned(), coupon }
}

/// Something that happened, in an entry with the index 0.
fn told(revision: u64, issued: u64, happened: Happened) -> pb::CampaignEvent {
    let (record, coupon) = match happened {
        Happened::Event { event, coupon } => (event::to_pb(&event, 0), coupon),
        Happened::Issue { coupon, request_id, hold } => {
            let hold = hold.as_ref().map(hold::to_pb);
            let record = pb::EventRecord {
                log_index: 0,
                time_micros: coupon.coupon.issued_at.0,
                request_id: request_id.as_bytes().to_vec(),
                issued,
                event: Some(Kind::CouponIssued(pb::IssueEvent { hold })),
            };
            (record, Some(coupon))
        }
    };
    let coupon = coupon.map(outcome::issued_to_pb);
    pb::CampaignEvent { revision, record: Some(record), coupon }
}
