//! Questions for one coupon: by its place in its campaign, and by its code.

use coupon_ledger::{IssuedCoupon, LogTime, Refusal, find_coupon, redemption_refusal};
use coupon_proto::internal as pb;

use super::reader::{ReadError, Reader, campaign_name};
use crate::codec::{code_number, outcome};

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
        let code = code_number::from_pb(Some(code)).map_err(ReadError::Malformed)?;
        let (mut view, mut answer) = self.begin(epoch)?;
        let now = answer.log_time_micros;
        if answer.refusal.is_some() {
            return Ok(answer);
        }
        match find_coupon(&mut view, self.replica.raft.key.shard, &code)? {
            Some((campaign, found)) => {
                let refusal = redemption_refusal(&found.coupon, &found.state, LogTime(now));
                answer.redemption_refusal = refusal.map(outcome::refusal_to_pb);
                answer.coupons.push(shown(campaign.spec.name.id(), found));
            }
            None => answer.refusal = Some(outcome::refusal_to_pb(Refusal::CouponNotFound)),
        }
        Ok(answer)
    }
}

/// A coupon as answers show it.
pub(super) fn shown(campaign_id: &str, found: IssuedCoupon) -> pb::CampaignCoupon {
    let coupon = Some(outcome::issued_to_pb(found));
    pb::CampaignCoupon { campaign_id: campaign_id.to_owned(), coupon }
}
