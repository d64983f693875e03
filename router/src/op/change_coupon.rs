//! What the operations share that change a coupon.

use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{CouponChanged, outcome};
use coupon_proto::v1::Coupon;
use tokio::time::Instant;

use super::check::{Check, RequestIdentity};
use super::code::{CommandCode, RequestedCode};
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::retry::Unanswered;
use crate::shards::shard_client::ShardClient;

/// Which coupon is to be changed, by which request.
pub(super) struct Change {
    code: RequestedCode,
    identity: RequestIdentity,
}

impl Change {
    /// Checks what all such requests have; `check` has seen the other fields.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with all violations, or [`Fault::Code`].
    pub(super) fn new(
        mut check: Check,
        code: &str,
        campaign_id: &str,
        request_id: &str,
    ) -> Result<Self, Fault> {
        let identity = check.request_id(request_id);
        let code = RequestedCode::read(check, code, campaign_id)?;
        let identity = identity.ok_or(Fault::Internal("an id is missing without a violation"))?;
        Ok(Self { code, identity })
    }

    /// Has the shard that issued the coupon change it. `operation` is made of the code as commands have it, and the
    /// request id. Returns the coupon, and whether an earlier request of the caller with the same id had changed it.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn make(
        self,
        shards: &ShardClient,
        operation: impl Fn(CommandCode, Vec<u8>) -> Operation,
        deadline: Instant,
    ) -> Result<(Coupon, bool), Fault> {
        let (to, code) = self.code.located(shards, deadline).await?;
        let mut operation = operation(code, self.identity.id.as_bytes().to_vec());
        let answered = shards.propose_to(to, &mut operation, deadline).await;
        let (outcome, topology) = answered.map_err(|fault| self.identity.judge(fault))?;
        match outcome.outcome {
            Some(outcome::Outcome::CouponChanged(changed)) => {
                self.answer(shards, *changed, deadline).await
            }
            Some(outcome::Outcome::Refusal(refusal)) => Err(Fault::refused(refusal, &topology)),
            Some(
                outcome::Outcome::CampaignCreated(_)
                | outcome::Outcome::CampaignChanged(_)
                | outcome::Outcome::CampaignDeleted(_)
                | outcome::Outcome::CouponIssued(_)
                | outcome::Outcome::HoldChanged(_)
                | outcome::Outcome::HoldConfirmed(_)
                | outcome::Outcome::CodesImported(_),
            )
            | None => Err(Fault::another_question()),
        }
    }

    async fn answer(
        &self,
        shards: &ShardClient,
        changed: CouponChanged,
        deadline: Instant,
    ) -> Result<(Coupon, bool), Fault> {
        let CouponChanged { coupon, time_micros, replayed } = changed;
        let found = coupon.ok_or(Fault::Internal("a shard changed a nameless coupon"))?;
        let issued = found.coupon.unwrap_or_default();
        // It is done; only asking again, by a newer map, could show it.
        let unknown = self.identity.judge(Fault::Unanswered(Unanswered::OutcomeUnknown));
        let topology = shards.topology(deadline).await?;
        let keyed = shards.with_keys(topology, std::iter::once(&issued), deadline).await;
        let keyed = keyed.ok_or(unknown)?;
        let coupon = convert::coupon(found.campaign_id, issued, &keyed, time_micros)?;
        Ok((coupon, replayed && !self.identity.generated))
    }
}
