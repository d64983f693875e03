//! `IssueCoupon`, the one method that a crowd calls.

use std::sync::Arc;

use coupon_cluster::CampaignName;
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{IssueCommand, outcome};
use coupon_proto::limits::METADATA_MAX;
use coupon_proto::v1::{IssueCouponRequest, IssueCouponResponse};
use tokio::time::Instant;

use super::check::{Check, RequestIdentity};
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::retry::Unanswered;
use crate::shards::propose::Proposal;
use crate::shards::shard_client::ShardClient;

/// Issues a coupon.
///
/// # Errors
/// [`Fault`].
pub(crate) async fn issue_coupon(
    shards: &ShardClient,
    request: IssueCouponRequest,
    deadline: Instant,
) -> Result<IssueCouponResponse, Fault> {
    let mut issue = Issue::new(request)?;
    let proposal = shards.propose(&issue.campaign, &mut issue.operation, deadline).await;
    issue.response(shards, proposal, deadline).await
}

/// An `IssueCoupon` that can be proposed.
pub(super) struct Issue {
    /// The campaign.
    pub(super) campaign: CampaignName,
    /// What its owner is asked to do.
    pub(super) operation: Operation,
    identity: RequestIdentity,
}

impl Issue {
    /// Checks a request.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with all violations.
    pub(super) fn new(request: IssueCouponRequest) -> Result<Self, Fault> {
        let mut check = Check::default();
        let campaign = check.campaign_id(&request.campaign_id);
        let identity = check.request_id(&request.request_id);
        check.recipient(&request.recipient);
        check.map("metadata", &request.metadata, METADATA_MAX);
        check.result()?;
        let (Some(campaign), Some(identity)) = (campaign, identity) else {
            return Err(Fault::Internal("an id is missing without a violation"));
        };
        let command = IssueCommand {
            campaign: campaign.to_string(),
            recipient: request.recipient,
            request_id: identity.id.as_bytes().to_vec(),
            metadata: request.metadata,
        };
        Ok(Self { campaign, identity, operation: Operation::Issue(command) })
    }

    /// The answer, by what came of the command.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn response(
        self,
        shards: &ShardClient,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<IssueCouponResponse, Fault> {
        let Self { campaign, identity, operation } = self;
        let (outcome, topology) = proposal.map_err(|fault| identity.judge(fault))?;
        match outcome.outcome {
            Some(outcome::Outcome::CouponIssued(mut issued)) => {
                convert::complete(&mut issued, operation);
                // The coupon exists; only asking again, by a newer map, could show it.
                let unknown = identity.judge(Fault::Unanswered(Unanswered::OutcomeUnknown));
                let once = std::iter::once(&issued);
                let topology = shards.with_keys(topology, once, deadline).await.ok_or(unknown)?;
                let replayed = issued.replayed;
                // Log time is its issuance, unless that was earlier.
                let issue_micros = issued.coupon.as_ref().map_or(0, |coupon| coupon.issue_micros);
                let now = if replayed { issued.log_time_micros } else { issue_micros };
                let coupon = convert::coupon(campaign.id().to_owned(), issued, &topology, now)?;
                let replayed = replayed && !identity.generated;
                Ok(IssueCouponResponse { coupon: Some(coupon), replayed })
            }
            Some(outcome::Outcome::Refusal(refusal)) => {
                let held = refusal.held.iter();
                let keyed = shards.with_keys(Arc::clone(&topology), held, deadline).await;
                Err(Fault::refused(refusal, &keyed.unwrap_or(topology)))
            }
            Some(
                outcome::Outcome::CampaignCreated(_)
                | outcome::Outcome::CampaignChanged(_)
                | outcome::Outcome::CampaignDeleted(_)
                | outcome::Outcome::CouponChanged(_)
                | outcome::Outcome::HoldChanged(_)
                | outcome::Outcome::HoldConfirmed(_)
                | outcome::Outcome::CodesImported(_),
            )
            | None => Err(Fault::another_question()),
        }
    }
}
