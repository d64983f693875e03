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
        let (view, mut answer) = self.begin(epoch)?;
        if answer.refusal.is_some() {
            return Ok(answer);
        }
        let Some(campaign) = view.campaign(&name)? else {
            answer.refusal = Some(outcome::refusal_to_pb(Refusal::CampaignNotFound));
            return Ok(answer);
        };
        match view.coupon_of(&campaign, query.sequence)? {
            Some(found) => answer.coupons.push(shown(name.id(), found)),
            None => answer.refusal = Some(outcome::refusal_to_pb(Refusal::CouponNotFound)),
        }
        Ok(answer)
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
        let (mut view, answer) = self.begin(epoch)?;
        if answer.refusal.is_some() {
            return Ok(answer);
        }
        let found = find_coupon(&mut view, self.replica.raft.key.shard, &code)?;
        let found = found.map(|(campaign, found)| (campaign.spec.name.id().to_owned(), found));
        Ok(with_coupon(answer, found.ok_or(Refusal::CouponNotFound)))
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
        let (mut view, answer) = self.begin(epoch)?;
        if answer.refusal.is_some() {
            return Ok(answer);
        }
        let Some(campaign) = view.campaign(&code.campaign)? else {
            return Ok(with_coupon(answer, Err(Refusal::CampaignNotFound)));
        };
        let shard = self.replica.raft.key.shard;
        let found = find_coupon_in(&mut view, shard, &campaign, &code)?;
        let found = found.map(|found| (code.campaign.id().to_owned(), found));
        Ok(with_coupon(answer, found.ok_or(Refusal::CouponNotFound)))
    }
}

/// An answer about the coupon of a code.
fn with_coupon(
    mut answer: pb::ReadResponse,
    found: Result<(String, IssuedCoupon), Refusal>,
) -> pb::ReadResponse {
    match found {
        Ok((campaign_id, found)) => {
            let now = LogTime(answer.log_time_micros);
            let refusal = redemption_refusal(&found.coupon, &found.state, now);
            answer.redemption_refusal = refusal.map(outcome::refusal_to_pb);
            answer.coupons.push(shown(&campaign_id, found));
        }
        Err(refusal) => answer.refusal = Some(outcome::refusal_to_pb(refusal)),
    }
    answer
}

/// A coupon as answers show it.
pub(super) fn shown(campaign_id: &str, found: IssuedCoupon) -> pb::CampaignCoupon {
    let coupon = Some(outcome::issued_to_pb(found));
    pb::CampaignCoupon { campaign_id: campaign_id.to_owned(), coupon }
}
