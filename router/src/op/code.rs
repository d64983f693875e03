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
/// [`Fault::CouponNotFound`], when no shard can have issued it by the newest map; [`Fault::Unanswered`], when there is no
/// map until `deadline`, or nobody says which one is the newest.
pub(super) async fn number(
    shards: &ShardClient,
    code: &Code,
    deadline: Instant,
) -> Result<(ShardId, CodeNumber), Fault> {
    let known = shards.topology(deadline).await?;
    if let Some(number) = number_by(&known, code) {
        return Ok(number);
    }
    // It may be made with a key that this map does not have yet.
    let latest = shards.latest_topology(deadline).await?;
    let is_newer = latest.version() > known.version();
    let number = is_newer.then(|| number_by(&latest, code)).flatten();
    number.ok_or(Fault::CouponNotFound)
}

/// What a code stands for by a map.
fn number_by(topology: &Topology, code: &Code) -> Option<(ShardId, CodeNumber)> {
    let origin = topology.codes().decode(code)?;
    if topology.replicas(origin.shard).is_empty() {
        return None;
    }
    let number = CodeNumber {
        shard_id: origin.shard.get(),
        key_id: origin.key.get(),
        counter: origin.counter,
        tenant: check::tenant().to_string(),
        code_scheme: scheme_to_pb(code.scheme()),
    };
    Some((origin.shard, number))
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
    let (shard, number) = number(shards, code, deadline).await?;
    let query = read_request::Query::FindCoupon(number);
    shards.read_from(Destination::Shard(shard), query, deadline).await
}
