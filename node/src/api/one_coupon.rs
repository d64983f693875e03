//! Questions for one coupon: by its place in its campaign, and by its code.

use coupon_ledger::{
    IssuedCoupon, LogTime, Refusal, find_coupon, find_coupon_in, redemption_refusal,
};
use coupon_proto::internal as pb;

use super::reader::{ReadError, Reader, campaign_name};
use crate::codec::{coupon_code, outcome};

impl Reader<'_> {
    /// The coupon of a campaign with a sequence number.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn get_coupon(
        &self,
        epoch: u64,
        query: &pb::GetCouponQuery,
    ) -> Result<pb::ReadResponse, ReadError> {
        let name = campaign_name(&query.campaign)?;
        self.respond(epoch, |view, answer| {
            let campaign = view.campaign(&name)?.ok_or(Refusal::CampaignNotFound)?;
            let found = view.coupon_of(&campaign, query.sequence)?;
            answer.coupons.push(shown(name.id(), found.ok_or(Refusal::CouponNotFound)?));
            Ok(())
        })
    }

    /// The coupon of a code, and whether it could be redeemed.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn find_coupon(
        &self,
        epoch: u64,
        code: &pb::CodeNumber,
    ) -> Result<pb::ReadResponse, ReadError> {
        let code = coupon_code::number_from_pb(code).map_err(ReadError::Malformed)?;
        let shard = self.replica.raft.key.shard;
        self.respond(epoch, |mut view, answer| {
            let found = find_coupon(&mut view, shard, &code)?;
            let (campaign, found) = found.ok_or(Refusal::CouponNotFound)?;
            show_redeemable(answer, campaign.spec.name.id(), found);
            Ok(())
        })
    }

    /// The coupon of a campaign that has a code, and whether it could be redeemed.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn find_coupon_in_campaign(
        &self,
        epoch: u64,
        code: &pb::CampaignCode,
    ) -> Result<pb::ReadResponse, ReadError> {
        let code = coupon_code::campaign_code_from_pb(code).map_err(ReadError::Malformed)?;
        let shard = self.replica.raft.key.shard;
        self.respond(epoch, |mut view, answer| {
            let campaign = view.campaign(&code.campaign)?.ok_or(Refusal::CampaignNotFound)?;
            let found = find_coupon_in(&mut view, shard, &campaign, &code)?;
            show_redeemable(answer, code.campaign.id(), found.ok_or(Refusal::CouponNotFound)?);
            Ok(())
        })
    }
}

/// Shows the coupon of a code, and whether it could be redeemed.
fn show_redeemable(answer: &mut pb::ReadResponse, campaign_id: &str, found: IssuedCoupon) {
    let now = LogTime(answer.log_time_micros);
    let refusal = redemption_refusal(&found.coupon, &found.state, now);
    answer.redemption_refusal = refusal.map(outcome::refusal_to_pb);
    answer.coupons.push(shown(campaign_id, found));
}

/// A coupon as answers show it.
pub(super) fn shown(campaign_id: &str, found: IssuedCoupon) -> pb::CampaignCoupon {
    let coupon = Some(outcome::issued_to_pb(found));
    pb::CampaignCoupon { campaign_id: campaign_id.to_owned(), coupon }
}
