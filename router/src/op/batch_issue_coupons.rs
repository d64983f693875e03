//! `BatchIssueCoupons`.

use std::pin::pin;
use std::sync::Arc;

use coupon_proto::limits::BATCH_MAX;
use coupon_proto::v1::{
    BatchIssueCouponsRequest, BatchIssueCouponsResponse, BatchIssueCouponsResult,
    IssueCouponResponse, batch_issue_coupons_result,
};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::issue_coupon::Issue;
use super::limits::Permits;
use crate::answer::error::Fault;
use crate::route::topology::Destination;
use crate::shards::propose::OutdatedProposal;
use crate::shards::shard_client::ShardClient;

/// Issues coupons, each by itself.
///
/// # Errors
/// [`Fault`], when none of them was tried.
pub(super) async fn batch_issue_coupons(
    shards: &ShardClient,
    permits: &Permits,
    request: BatchIssueCouponsRequest,
    deadline: Instant,
) -> Result<BatchIssueCouponsResponse, Fault> {
    check_size(&request)?;
    let _permits = permits.for_batch(request.requests.len())?;
    let topology = shards.topology(deadline).await?;
    let mut sent = Vec::with_capacity(request.requests.len());
    for request in request.requests {
        sent.push(match Issue::new(request) {
            Ok(mut issue) => {
                let Issue { campaign, operation, .. } = &mut issue;
                let to = Destination::Owner(campaign);
                let sending = shards.send(to, operation, Arc::clone(&topology), deadline);
                sending.await.map(|proposed| (issue, proposed))
            }
            Err(fault) => Err(fault),
        });
    }
    // All are under way, so that waiting for one after the other takes no longer than waiting for the last.
    let mut results = Vec::with_capacity(sent.len());
    let (mut following, mut followed) = (FuturesUnordered::new(), Vec::new());
    for (place, sent) in sent.into_iter().enumerate() {
        let settled = match sent {
            Ok((issue, proposed)) => {
                match beside(proposed.settled(), &mut following, &mut followed).await {
                    Ok(proposal) => issue.response(shards, proposal, deadline).await,
                    Err(outdated) => {
                        following.push(async move {
                            (place, result(follow(shards, issue, outdated, deadline).await))
                        });
                        results.push(BatchIssueCouponsResult::default());
                        continue;
                    }
                }
            }
            Err(fault) => Err(fault),
        };
        results.push(result(settled));
    }
    followed.extend(following.collect::<Vec<_>>().await);
    for (place, result) in followed {
        results[place] = result;
    }
    Ok(BatchIssueCouponsResponse { results })
}

/// The output of a future. Those that follow their campaigns go on meanwhile.
async fn beside<T, F>(
    future: impl Future<Output = T>,
    following: &mut FuturesUnordered<F>,
    followed: &mut Vec<F::Output>,
) -> T
where
    F: Future,
{
    let mut future = pin!(future);
    loop {
        tokio::select! {
            biased;
            output = &mut future => return output,
            Some(output) = following.next(), if !following.is_empty() => followed.push(output),
        }
    }
}

/// Issues a coupon whose campaign is no longer where its command was sent.
///
/// # Errors
/// [`Fault`].
async fn follow(
    shards: &ShardClient,
    mut issue: Issue,
    outdated: OutdatedProposal,
    deadline: Instant,
) -> Result<IssueCouponResponse, Fault> {
    let Issue { campaign, operation, .. } = &mut issue;
    let to = Destination::Owner(campaign);
    let proposal = shards.follow(to, operation, outdated, deadline).await;
    issue.response(shards, proposal, deadline).await
}

fn result(issued: Result<IssueCouponResponse, Fault>) -> BatchIssueCouponsResult {
    let result = match issued {
        Ok(response) => batch_issue_coupons_result::Result::Response(response),
        Err(fault) => batch_issue_coupons_result::Result::Error(fault.into_pb()),
    };
    BatchIssueCouponsResult { result: Some(result) }
}

/// Checks the size of a batch; its requests are checked and answered one by one.
///
/// # Errors
/// [`Fault::Invalid`] when the batch is empty or too large.
fn check_size(request: &BatchIssueCouponsRequest) -> Result<(), Fault> {
    let count = request.requests.len();
    if (1..=BATCH_MAX).contains(&count) {
        return Ok(());
    }
    let description = format!("must have 1 to {BATCH_MAX} requests, has {count}");
    Err(Fault::field("requests", description))
}
