//! Listings over one or many shards, page by page.
//!
//! A shard that cannot be reached does not hold a listing up: it is named, and the listing goes on without it.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use coupon_cluster::ShardId;
use coupon_proto::internal::{ReadResponse, read_request};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use prost::Message as _;
use tokio::time::Instant;

use crate::answer::error::Fault;
use crate::op::page::{BadToken, Cursor};
use crate::route::retry::Unanswered;
use crate::route::topology::Topology;
use crate::shards::shard_client::ShardClient;

/// How many answers one page may take. A page may be shorter than asked for, and even empty, as
/// long as it says how to go on (AIP-158); without this, looking for one recipient's coupons on a
/// thousand shards would take one call as long as they all take.
const ANSWERS_PER_PAGE_MAX: usize = 64;

/// A page takes no more answers once it has so many bytes: gRPC clients take 4 MiB unless told
/// otherwise, and a shard's answer has about 1 MiB at most.
const PAGE_BYTES: usize = 1 << 20;

/// The part of a page's time in which shards may answer: with the default deadline 2.5 s, time enough for an election.
const PATIENCE_DIVISOR: u32 = 4;

/// The part of the time left that a shard has to answer which is asked later. However many are away, some time is left
/// for the page.
const LATE_PATIENCE_DIVISOR: u32 = 16;

/// What is listed, and of which shards.
pub(crate) trait Listing {
    /// What a page consists of.
    type Item;

    /// What makes a token one of this listing.
    fn question(&self) -> Vec<&str>;

    /// The shards to ask, ascending.
    fn shards(&self, topology: &Topology) -> BTreeSet<ShardId>;

    /// Number of shards that are asked at the same time.
    fn asked_at_once(&self) -> usize;

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

/// A page of a listing.
pub(crate) struct Page<T> {
    items: Vec<T>,
    limit: u32,
    bytes: usize,
    answers: usize,
    next_token: String,
    unreachable: Vec<ShardId>,
}

impl<T> Page<T> {
    fn new(limit: u32) -> Self {
        let (items, unreachable) = (Vec::new(), Vec::new());
        Self { items, limit, bytes: 0, answers: 0, next_token: String::new(), unreachable }
    }

    /// The items, the token of the next page, which is empty at the end, and the names of the shards that could not be
    /// reached.
    pub(crate) fn into_parts(self) -> (Vec<T>, String, Vec<String>) {
        let unreachable = self.unreachable.into_iter().map(|shard| format!("shards/{shard}"));
        (self.items, self.next_token, unreachable.collect())
    }

    fn missing(&self) -> u32 {
        self.limit.saturating_sub(u32::try_from(self.items.len()).unwrap_or(u32::MAX))
    }

    fn has_room_for(&self, response: &ReadResponse) -> bool {
        let found = response.coupons.len() + response.campaigns.len();
        u32::try_from(found).is_ok_and(|found| found <= self.missing())
    }

    fn is_full(&self) -> bool {
        let is_long = self.missing() == 0 || self.bytes >= PAGE_BYTES;
        is_long || self.answers >= ANSWERS_PER_PAGE_MAX
    }
}

/// What a shard answered.
enum Answer {
    Items(Box<ReadResponse>),
    /// Nothing, in its part of the time.
    Nothing,
    /// That the ring has changed.
    OtherRing,
}

/// One page.
///
/// # Errors
/// [`Fault::Invalid`] when the token is not one of this listing; [`Fault::Unanswered`] at `deadline`, if the one shard
/// that is asked does not answer.
pub(crate) async fn page<L: Listing>(
    listing: &L,
    shards: &ShardClient,
    token: &str,
    limit: u32,
    deadline: Instant,
) -> Result<Page<L::Item>, Fault> {
    loop {
        let topology = shards.topology(deadline).await?;
        let cursor = begin(listing, token, &topology)?;
        let Some(cursor) = cursor else { return Ok(Page::new(limit)) };
        // A ring that changes under a first page lets it begin again; a later page finds that its
        // token is outdated.
        let begun = Instant::now();
        let patience = deadline.saturating_duration_since(begun) / PATIENCE_DIVISOR;
        let patience_end = begun + patience;
        let asking = Asking { listing, shards, topology: &topology, patience_end, deadline };
        if let Some(page) = asking.fill(cursor, limit).await? {
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

/// Asks shards for a page.
struct Asking<'a, L> {
    listing: &'a L,
    shards: &'a ShardClient,
    topology: &'a Arc<Topology>,
    /// Until when shards may answer that are asked before.
    patience_end: Instant,
    deadline: Instant,
}

impl<L: Listing> Asking<'_, L> {
    /// Fills a page. `None` when the ring has changed.
    async fn fill(&self, cursor: Cursor, limit: u32) -> Result<Option<Page<L::Item>>, Fault> {
        let all = self.listing.shards(self.topology);
        let begin_with =
            |shard: &ShardId| Cursor::new(self.topology.epoch(), *shard, &self.listing.question());
        let after =
            |shard: ShardId| all.range((Bound::Excluded(shard), Bound::Unbounded)).map(begin_with);
        let mut page = Page::new(limit);
        let mut waiting = after(cursor.shard());
        let mut asked = FuturesOrdered::new();
        asked.push_back(self.ask(cursor, limit, all.len()));
        loop {
            while asked.len() < self.listing.asked_at_once()
                && let Some(next) = waiting.next()
            {
                asked.push_back(self.ask(next, page.missing(), all.len()));
            }
            let Some(answered) = asked.next().await else { break };
            let (mut cursor, answer) = answered?;
            let mut more = false;
            match answer {
                Answer::OtherRing => return Ok(None),
                Answer::Nothing => page.unreachable.push(cursor.shard()),
                Answer::Items(response) => {
                    // Shards that were asked beforehand may have more than there is room for.
                    if !page.has_room_for(&response) {
                        page.next_token = cursor.to_token();
                        break;
                    }
                    page.bytes += response.encoded_len();
                    more = response.more;
                    page.items.extend(self.take(*response, &mut cursor).await?);
                }
            }
            page.answers += 1;
            let next = if more { Some(cursor.clone()) } else { after(cursor.shard()).next() };
            let Some(next) = next else { break };
            if page.is_full() {
                page.next_token = next.to_token();
                break;
            }
            if more {
                asked.push_front(self.ask(cursor, page.missing(), all.len()));
            }
        }
        Ok(Some(page))
    }

    /// Asks the shard of a cursor for what comes after it. Of several shards, each has its part of the time.
    async fn ask(
        &self,
        cursor: Cursor,
        limit: u32,
        shards: usize,
    ) -> Result<(Cursor, Answer), Fault> {
        let until = if shards > 1 { self.patience_end() } else { self.deadline };
        loop {
            let query = self.listing.query(&cursor, limit);
            let answer = match self.shards.read(cursor.shard(), self.topology, query, until).await {
                Ok(Some(response)) => Answer::Items(Box::new(response)),
                Ok(None) => {
                    let newest = self.shards.topology(self.deadline).await?;
                    if newest.epoch() == self.topology.epoch() {
                        continue;
                    }
                    Answer::OtherRing
                }
                Err(Fault::Unanswered(_)) if shards > 1 => Answer::Nothing,
                Err(fault) => return Err(fault),
            };
            return Ok((cursor, answer));
        }
    }

    /// Until when one of several shards may answer that is asked now.
    fn patience_end(&self) -> Instant {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        self.patience_end.max(now + left / LATE_PATIENCE_DIVISOR)
    }

    /// The items of an answer.
    async fn take(
        &self,
        response: ReadResponse,
        cursor: &mut Cursor,
    ) -> Result<Vec<L::Item>, Fault> {
        let coupons = response.coupons.iter().filter_map(|found| found.coupon.as_ref());
        let topology = Arc::clone(self.topology);
        let keyed = self.shards.with_keys(topology, coupons, self.deadline).await;
        let keyed = keyed.ok_or(Fault::Unanswered(Unanswered::NoLeader))?;
        self.listing.take(response, cursor, &keyed)
    }
}
