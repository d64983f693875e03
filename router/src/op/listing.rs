//! Listings over one or many shards, page by page.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use coupon_cluster::ShardId;
use coupon_proto::internal::{ReadResponse, read_request};
use prost::Message as _;
use tokio::time::Instant;

use crate::answer::error::Fault;
use crate::op::page::{BadToken, Cursor};
use crate::route::retry::Unanswered;
use crate::route::topology::Topology;
use crate::shards::shard_client::ShardClient;

/// How many questions one page may take. A page may be shorter than asked for, and even empty, as
/// long as it says how to go on (AIP-158); without this, looking for one recipient's coupons on a
/// thousand shards would take one call as long as they all take.
const QUESTIONS_PER_PAGE_MAX: usize = 64;

/// A page takes no more answers once it has so many bytes: gRPC clients take 4 MiB unless told
/// otherwise, and a shard's answer has about 1 MiB at most.
const PAGE_BYTES: usize = 1 << 20;

/// What is listed, and of which shards.
pub(crate) trait Listing {
    /// What a page consists of.
    type Item;

    /// What makes a token one of this listing.
    fn question(&self) -> Vec<&str>;

    /// The shards to ask, ascending.
    fn shards(&self, topology: &Topology) -> BTreeSet<ShardId>;

    /// The question to a shard for at most `limit` items after the cursor.
    fn query(&self, cursor: &Cursor, limit: u32) -> read_request::Query;

    /// Takes items from an answer and moves the cursor after the last one.
    ///
    /// # Errors
    /// [`Fault`] when they cannot be shown.
    fn take(
        &self,
        response: ReadResponse,
        cursor: &mut Cursor,
        topology: &Topology,
    ) -> Result<Vec<Self::Item>, Fault>;
}

/// One page: its items, and the token of the next one, which is empty at the end.
///
/// # Errors
/// [`Fault::Invalid`] when the token is not one of this listing; [`Fault::Unanswered`] at `deadline`.
pub(crate) async fn page<L: Listing>(
    listing: &L,
    shards: &ShardClient,
    token: &str,
    limit: u32,
    deadline: Instant,
) -> Result<(Vec<L::Item>, String), Fault> {
    loop {
        let topology = shards.topology(deadline).await?;
        let cursor = begin(listing, token, &topology)?;
        let Some(cursor) = cursor else { return Ok((Vec::new(), String::new())) };
        // A ring that changes under a first page lets it begin again; a later page finds that its
        // token is outdated.
        if let Some(page) = fill(listing, shards, &topology, cursor, limit, deadline).await? {
            return Ok(page);
        }
    }
}

/// Where the page begins. `None` when there is no shard to ask.
fn begin<L: Listing>(
    listing: &L,
    token: &str,
    topology: &Topology,
) -> Result<Option<Cursor>, Fault> {
    let question = listing.question();
    let shards = listing.shards(topology);
    if token.is_empty() {
        return Ok(shards.first().map(|shard| Cursor::new(topology.epoch(), *shard, &question)));
    }
    let refuse = |BadToken(description)| Fault::field("page_token", description);
    let cursor = Cursor::from_token(token, topology.epoch(), &question).map_err(refuse)?;
    if shards.contains(&cursor.shard()) {
        Ok(Some(cursor))
    } else {
        Err(Fault::field("page_token", "must be the next_page_token of an earlier answer"))
    }
}

/// Fills a page. `None` when the ring has changed.
async fn fill<L: Listing>(
    listing: &L,
    shards: &ShardClient,
    topology: &Arc<Topology>,
    mut cursor: Cursor,
    limit: u32,
    deadline: Instant,
) -> Result<Option<(Vec<L::Item>, String)>, Fault> {
    let asked = listing.shards(topology);
    let (mut items, mut bytes) = (Vec::new(), 0);
    for _ in 0..QUESTIONS_PER_PAGE_MAX {
        let taken = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let missing = limit.saturating_sub(taken);
        if missing == 0 || bytes >= PAGE_BYTES {
            break;
        }
        let query = listing.query(&cursor, missing);
        let Some(response) = shards.read(cursor.shard(), topology, query, deadline).await? else {
            if shards.topology(deadline).await?.epoch() == topology.epoch() {
                continue;
            }
            return Ok(None);
        };
        bytes += response.encoded_len();
        let more = response.more;
        let coupons = response.coupons.iter().filter_map(|found| found.coupon.as_ref());
        let keyed = shards.with_keys(Arc::clone(topology), coupons, deadline).await;
        let keyed = keyed.ok_or(Fault::Unanswered(Unanswered::NoLeader))?;
        items.extend(listing.take(response, &mut cursor, &keyed)?);
        if !more {
            let after = (Bound::Excluded(cursor.shard()), Bound::Unbounded);
            let Some(next) = asked.range(after).next() else {
                return Ok(Some((items, String::new())));
            };
            cursor = Cursor::new(topology.epoch(), *next, &listing.question());
        }
    }
    Ok(Some((items, cursor.to_token())))
}
