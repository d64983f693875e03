//! What the operations share that change a campaign.

use coupon_cluster::CampaignName;
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::outcome;
use coupon_proto::v1::Campaign;
use tokio::time::Instant;

use super::check::{Check, RequestIdentity};
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Which campaign is to be changed, by which request.
pub(super) struct Change {
    pub(super) campaign: CampaignName,
    pub(super) identity: RequestIdentity,
}

impl Change {
    /// Checks what all such requests have.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with all violations.
    pub(super) fn new(campaign_id: &str, request_id: &str) -> Result<Self, Fault> {
        let mut check = Check::default();
        let (campaign, identity) = (check.campaign_id(campaign_id), check.request_id(request_id));
        Self::checked(check, campaign, identity)
    }

    /// A change, if nothing is wrong with its request.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with all violations.
    pub(super) fn checked(
        check: Check,
        campaign: Option<CampaignName>,
        identity: Option<RequestIdentity>,
    ) -> Result<Self, Fault> {
        check.result()?;
        match (campaign, identity) {
            (Some(campaign), Some(identity)) => Ok(Self { campaign, identity }),
            _ => Err(Fault::Internal("an id is missing without a violation")),
        }
    }

    /// The request id as commands have it.
    pub(super) fn request_id(&self) -> Vec<u8> {
        self.identity.id.as_bytes().to_vec()
    }

    /// Has the owner of the campaign change it. Returns the campaign, and whether an earlier request of the caller
    /// with the same id had changed it.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn make(
        self,
        shards: &ShardClient,
        mut operation: Operation,
        deadline: Instant,
    ) -> Result<(Campaign, bool), Fault> {
        let answered = shards.propose(&self.campaign, &mut operation, deadline).await;
        let (outcome, topology) = answered.map_err(|fault| self.identity.judge(fault))?;
        match outcome.outcome {
            Some(outcome::Outcome::CampaignChanged(changed)) => {
                let record = changed
                    .campaign
                    .ok_or(Fault::Internal("a shard changed a nameless campaign"))?;
                let campaign = convert::campaign(record, changed.log_time_micros);
                Ok((campaign, changed.replayed && !self.identity.generated))
            }
            Some(outcome::Outcome::Refusal(refusal)) => Err(Fault::refused(refusal, &topology)),
            Some(
                outcome::Outcome::CampaignCreated(_)
                | outcome::Outcome::CampaignDeleted(_)
                | outcome::Outcome::CouponIssued(_)
                | outcome::Outcome::CouponChanged(_)
                | outcome::Outcome::HoldChanged(_)
                | outcome::Outcome::HoldConfirmed(_)
                | outcome::Outcome::CodesImported(_),
            )
            | None => Err(Fault::another_question()),
        }
    }
}
