//! `ConfirmHold`.

use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{ConfirmHoldCommand, CouponIssued, outcome};
use coupon_proto::limits::METADATA_MAX;
use coupon_proto::v1::{ConfirmHoldRequest, ConfirmHoldResponse};
use tokio::time::Instant;

use super::change_campaign::Change;
use super::check::Check;
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::retry::Unanswered;
use crate::shards::shard_client::ShardClient;

/// Turns a hold into a coupon.
///
/// # Errors
/// [`Fault`].
pub(super) async fn confirm_hold(
    shards: &ShardClient,
    request: ConfirmHoldRequest,
    deadline: Instant,
) -> Result<ConfirmHoldResponse, Fault> {
    let mut check = Check::default();
    let campaign = check.campaign_id(&request.campaign_id);
    let hold_id = check.hold_id(&request.hold_id);
    let identity = check.request_id(&request.request_id);
    check.map("metadata", &request.metadata, METADATA_MAX);
    let change = Change::checked(check, campaign, identity)?;
    let hold_id = hold_id.ok_or(Fault::Internal("an id is missing without a violation"))?;
    let mut operation = Operation::ConfirmHold(ConfirmHoldCommand {
        campaign: change.campaign.to_string(),
        hold_id: hold_id.as_bytes().to_vec(),
        request_id: change.request_id(),
        metadata: request.metadata,
    });
    let Change { campaign, identity } = change;
    let answered = shards.propose(&campaign, &mut operation, deadline).await;
    let (outcome, topology) = answered.map_err(|fault| identity.judge(fault))?;
    match outcome.outcome {
        Some(outcome::Outcome::HoldConfirmed(confirmed)) => {
            let issued =
                confirmed.coupon.ok_or(Fault::Internal("a shard confirmed a hold of no coupon"))?;
            let CouponIssued { replayed, log_time_micros, .. } = issued;
            // The coupon exists; only asking again, by a newer map, could show it.
            let unknown = identity.judge(Fault::Unanswered(Unanswered::OutcomeUnknown));
            let once = std::iter::once(&issued);
            let topology = shards.with_keys(topology, once, deadline).await.ok_or(unknown)?;
            // Log time is its issuance, unless that was earlier.
            let issue_micros = issued.coupon.as_ref().map_or(0, |coupon| coupon.issue_micros);
            let now = if replayed { log_time_micros } else { issue_micros };
            let coupon = convert::coupon(campaign.id().to_owned(), issued, &topology, now)?;
            let replayed = replayed && !identity.generated;
            Ok(ConfirmHoldResponse { coupon: Some(coupon), replayed })
        }
        Some(outcome::Outcome::Refusal(refusal)) => Err(Fault::refused(refusal, &topology)),
        Some(
            outcome::Outcome::CampaignCreated(_)
            | outcome::Outcome::CampaignChanged(_)
            | outcome::Outcome::CampaignDeleted(_)
            | outcome::Outcome::CouponIssued(_)
            | outcome::Outcome::CouponChanged(_)
            | outcome::Outcome::HoldChanged(_)
            | outcome::Outcome::CodesImported(_),
        )
        | None => Err(Fault::another_question()),
    }
}
