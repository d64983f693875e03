//! What the operations share that show one coupon.

use coupon_proto::internal::ReadResponse;
use coupon_proto::v1::Coupon;
use tokio::time::Instant;

use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::retry::Unanswered;
use crate::shards::shard_client::ShardClient;

/// The coupon in an answer that has one.
///
/// # Errors
/// [`Fault`].
pub(super) async fn coupon(
    shards: &ShardClient,
    response: ReadResponse,
    deadline: Instant,
) -> Result<Coupon, Fault> {
    let now = response.log_time_micros;
    let found = response.coupons.into_iter().next();
    let found = found.ok_or(Fault::Internal("a shard showed no coupon"))?;
    let issued = found.coupon.unwrap_or_default();
    let topology = shards.topology(deadline).await?;
    let keyed = shards.with_keys(topology, std::iter::once(&issued), deadline).await;
    let keyed = keyed.ok_or(Fault::Unanswered(Unanswered::NoLeader))?;
    convert::coupon(found.campaign_id, issued, &keyed, now)
}
