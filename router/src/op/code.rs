//! Codes in requests, and which shard each leads to.

use coupon_cluster::{Code, ShardId};
use coupon_proto::internal::{CodeNumber, ReadResponse, read_request};
use coupon_wire::code::scheme_to_pb;
use tokio::time::Instant;

use super::check;
use crate::answer::error::Fault;
use crate::route::topology::{Destination, Topology};
use crate::shards::shard_client::ShardClient;

/// Reads a code.
///
/// # Errors
/// [`Fault::Code`].
pub(super) fn parse(text: &str) -> Result<Code, Fault> {
    Code::parse(text).map_err(Fault::Code)
}

/// What a code stands for, and the shard that issued its coupon. The shard tells whether there is such a coupon, and
/// whether that is its code.
///
/// # Errors
/// [`Fault::CouponNotFound`], when no shard can have issued it.
pub(super) fn number(code: &Code, topology: &Topology) -> Result<(ShardId, CodeNumber), Fault> {
    let origin = topology.codes().decode(code);
    let origin = origin.filter(|origin| !topology.replicas(origin.shard).is_empty());
    let origin = origin.ok_or(Fault::CouponNotFound)?;
    let number = CodeNumber {
        shard_id: origin.shard.get(),
        key_id: origin.key.get(),
        counter: origin.counter,
        tenant: check::tenant().to_string(),
        code_scheme: scheme_to_pb(code.scheme()),
    };
    Ok((origin.shard, number))
}

/// The answer of the shard that has the coupon of a code.
///
/// # Errors
/// [`Fault::CouponNotFound`], or another [`Fault`].
pub(super) async fn find(
    shards: &ShardClient,
    code: &Code,
    deadline: Instant,
) -> Result<ReadResponse, Fault> {
    let topology = shards.topology(deadline).await?;
    let (shard, number) = number(code, &topology)?;
    let query = read_request::Query::FindCoupon(number);
    shards.read_from(Destination::Shard(shard), query, deadline).await
}
