//! `BatchIssueCoupons`.

use coupon_proto::v1::{
    BatchIssueCouponsRequest, BatchIssueCouponsResponse, BatchIssueCouponsResult,
    batch_issue_coupons_result,
};
use futures::future::join_all;
use tokio::time::Instant;

use super::issue_coupon::issue_coupon;
use super::limits::Permits;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

const BATCH_MAX: usize = 1_000;

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
    let results = request.requests.into_iter().map(|request| async {
        let result = match issue_coupon(shards, request, deadline).await {
            Ok(response) => batch_issue_coupons_result::Result::Response(response),
            Err(fault) => batch_issue_coupons_result::Result::Error(fault.into_pb()),
        };
        BatchIssueCouponsResult { result: Some(result) }
    });
    Ok(BatchIssueCouponsResponse { results: join_all(results).await })
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
