//! `StreamEvents`: what happened to a campaign, and what happens from now on.

use std::sync::Arc;
use std::time::Duration;

use coupon_proto::v1::{Event, StreamEventsRequest, StreamEventsResponse};
use futures::stream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::check::Check;
use super::event_page::Place;
use super::limits::Stopping;
use super::parts::{Parts, pump};
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Maximum number of streams of events at a time.
pub(super) const STREAMS_MAX: usize = 256;

/// Maximum number of events of a message.
const PAGE_MAX: u32 = 500;

/// Minimum time between two questions for events that have not happened yet: while coupons are issued, events come in
/// groups, and a stream costs the shard twenty reads a second at most.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a stream looks for a leader before it gives up: several elections.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the events of a campaign, once one of the `streams` is free.
///
/// # Errors
/// [`Fault`], when no event was sent.
pub(super) async fn stream_events(
    shards: &Arc<ShardClient>,
    streams: &Arc<Semaphore>,
    stopping: &Stopping,
    request: &StreamEventsRequest,
    deadline: Instant,
) -> Result<Parts<StreamEventsResponse>, Fault> {
    let StreamEventsRequest { campaign_id, after_revision, history_id } = request;
    let place = Place::checked(Check::default(), campaign_id, *after_revision, *history_id)?;
    let permit = Arc::clone(streams).try_acquire_owned().map_err(|_| Fault::Overloaded)?;
    let (shards, stopping) = (Arc::clone(shards), stopping.clone());
    let mut feed = Feed { shards, stopping, place, found: Vec::new(), ask_at: Instant::now() };
    // Whoever asks for events that there cannot be learns it at once.
    feed.ask(Duration::ZERO, deadline).await?;
    let parts = stream::try_unfold(feed, |mut feed| async {
        let part = StreamEventsResponse { events: feed.next().await? };
        Ok(Some((part, feed)))
    });
    Ok(pump(parts, permit, Fault::StreamEnded))
}

/// Where a stream has come to.
struct Feed {
    shards: Arc<ShardClient>,
    stopping: Stopping,
    place: Place,
    /// Events that are not sent yet.
    found: Vec<Event>,
    /// When to ask for more.
    ask_at: Instant,
}

impl Feed {
    /// The next events, at least one.
    async fn next(&mut self) -> Result<Vec<Event>, Fault> {
        while self.found.is_empty() {
            let mut stopping = self.stopping.clone();
            tokio::select! {
                asked = self.ask_in_turn() => asked?,
                () = stopping.wait() => return Err(Fault::StreamEnded),
            }
        }
        Ok(std::mem::take(&mut self.found))
    }

    async fn ask_in_turn(&mut self) -> Result<(), Fault> {
        sleep_until(self.ask_at).await;
        self.ask(Duration::MAX, Instant::now() + PATIENCE).await
    }

    /// Asks for events. Dropped before it is done, it has found none.
    async fn ask(&mut self, wait: Duration, deadline: Instant) -> Result<(), Fault> {
        let page = self.place.next(&self.shards, PAGE_MAX, wait, deadline).await?;
        self.found = page.events;
        self.ask_at = Instant::now() + if page.more { Duration::ZERO } else { INTERVAL };
        Ok(())
    }
}
