//! Questions, and what the model answers.

use coupon_cluster::{CampaignName, TenantId};
use coupon_ledger::{CodeNumber, IssuedCoupon, LogTime, Refusal, redemption_refusal};
use coupon_node::codec::{outcome, row};
use coupon_proto::internal as pb;
use pb::read_request::Query;

use super::encode;
use crate::model::Model;

/// Maximum number of items in an answer: all there are.
const LIMIT: u32 = 1_000;

/// A question.
#[derive(Debug)]
pub(super) enum Read {
    /// One campaign.
    Campaign(CampaignName),
    /// All campaigns.
    Campaigns,
    /// The coupons of a campaign, of one recipient if that is not empty.
    Coupons(CampaignName, String),
    /// A coupon by its sequence number.
    Coupon(CampaignName, u64),
    /// A coupon by its code.
    Code(CodeNumber),
}

impl Read {
    /// As a router asks it.
    pub(super) fn query(&self) -> Query {
        match self {
            Self::Campaign(name) => {
                Query::GetCampaign(pb::GetCampaignQuery { campaign: name.to_string() })
            }
            Self::Campaigns => Query::ListCampaigns(pb::ListCampaignsQuery {
                tenant: TenantId::default().to_string(),
                limit: LIMIT,
                ..Default::default()
            }),
            Self::Coupons(name, recipient) => Query::ListCoupons(pb::ListCouponsQuery {
                tenant: TenantId::default().to_string(),
                campaign_id: name.id().to_owned(),
                recipient: recipient.clone(),
                limit: LIMIT,
                ..Default::default()
            }),
            Self::Coupon(name, sequence) => Query::GetCoupon(pb::GetCouponQuery {
                campaign: name.to_string(),
                sequence: *sequence,
            }),
            Self::Code(code) => Query::FindCoupon(encode::code(code)),
        }
    }

    /// The answer of a model, at a time by the leader's clock.
    pub(super) fn expected(&self, model: &Model, clock: u64) -> pb::ReadResponse {
        let now = model.now().0.max(clock);
        let mut answer = pb::ReadResponse { log_time_micros: now, ..Default::default() };
        let refused = |refusal| Some(outcome::refusal_to_pb(refusal));
        match self {
            Self::Campaign(name) => {
                let mut all = model.campaigns(now).into_iter();
                match all.find(|campaign| campaign.spec.name == *name) {
                    Some(campaign) => answer.campaigns.push(row::campaign_to_pb(&campaign)),
                    None => answer.refusal = refused(Refusal::CampaignNotFound),
                }
            }
            Self::Campaigns => {
                answer.campaigns = model.campaigns(now).iter().map(row::campaign_to_pb).collect();
            }
            Self::Coupons(name, recipient) => match model.coupons(name) {
                Some(mut coupons) => {
                    let is_wanted = |coupon: &IssuedCoupon| {
                        recipient.is_empty() || coupon.coupon.recipient == *recipient
                    };
                    coupons.retain(is_wanted);
                    answer.coupons = coupons.into_iter().map(|found| shown(name, found)).collect();
                }
                None => answer.refusal = refused(Refusal::CampaignNotFound),
            },
            Self::Coupon(name, sequence) => match model.coupons(name) {
                Some(coupons) => {
                    match coupons.into_iter().find(|found| found.sequence == *sequence) {
                        Some(found) => answer.coupons.push(shown(name, found)),
                        None => answer.refusal = refused(Refusal::CouponNotFound),
                    }
                }
                None => answer.refusal = refused(Refusal::CampaignNotFound),
            },
            Self::Code(code) => match model.find(code) {
                Some((name, found)) => {
                    let refusal = redemption_refusal(&found.coupon, &found.state, LogTime(now));
                    answer.redemption_refusal = refusal.map(outcome::refusal_to_pb);
                    answer.coupons.push(shown(&name, found));
                }
                None => answer.refusal = refused(Refusal::CouponNotFound),
            },
        }
        answer
    }
}

fn shown(name: &CampaignName, found: IssuedCoupon) -> pb::CampaignCoupon {
    let coupon = Some(outcome::issued_to_pb(found));
    pb::CampaignCoupon { campaign_id: name.id().to_owned(), coupon }
}
