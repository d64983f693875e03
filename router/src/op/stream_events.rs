//! `StreamEvents`: what happened to a campaign, and what happens from now on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coupon_proto::v1::{StreamEventsRequest, StreamEventsResponse};
use futures::stream;
use tokio::time::{Instant, sleep_until};

use super::check::Check;
use super::event_page::Place;
use super::limits::Stopping;
use super::parts::{End, Parts, pump};
use super::shares::{Bounds, Share, Shares};
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Each stream keeps two messages at most, usually of 100 KB, at most of 1 MiB.
pub(super) const BOUNDS: Bounds = Bounds { all: 256, of_client: 64 };

/// Maximum number of events of a message.
const PAGE_MAX: u32 = 500;

/// Minimum time between two questions for events that have not happened yet: while coupons are issued, events come in
/// groups, and a stream costs the shard twenty reads a second at most.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a stream looks for a leader before it gives up: several elections.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the events of a campaign, if the client may have one more of these `streams`.
///
/// # Errors
/// [`Fault`], when no event was sent.
pub(super) async fn stream_events(
    shards: &Arc<ShardClient>,
    streams: &Shares,
    request: &StreamEventsRequest,
    client: Option<IpAddr>,
    deadline: Instant,
    stopping: Stopping,
) -> Result<Parts<StreamEventsResponse>, Fault> {
    let StreamEventsRequest { campaign_id, after_revision, history_id } = request;
    let place = Place::checked(Check::default(), campaign_id, *after_revision, *history_id)?;
    let share = streams.begin(client)?;
    let (shards, ask_at) = (Arc::clone(shards), Instant::now());
    let mut feed = Feed { shards, place, ask_at, _share: share };
    // Whoever asks for events that there cannot be learns it at once.
    let first = feed.ask(Duration::ZERO, deadline).await?;
    let parts = stream::try_unfold((first, feed), |(found, mut feed)| async {
        let part = if found.events.is_empty() { feed.next().await? } else { found };
        Ok(Some((part, (StreamEventsResponse::default(), feed))))
    });
    Ok(pump(parts, End { at: None, stopping }, Fault::StreamEnded))
}

/// Where a stream has come to.
struct Feed {
    shards: Arc<ShardClient>,
    place: Place,
    /// When to ask for more.
    ask_at: Instant,
    _share: Share,
}

impl Feed {
    /// The next events, at least one.
    async fn next(&mut self) -> Result<StreamEventsResponse, Fault> {
        loop {
            sleep_until(self.ask_at).await;
            let found = self.ask(Duration::MAX, Instant::now() + PATIENCE).await?;
            if !found.events.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Asks for events. If there are none yet, the shard waits for some, for `wait` at most.
    async fn ask(
        &mut self,
        wait: Duration,
        deadline: Instant,
    ) -> Result<StreamEventsResponse, Fault> {
        let page = self.place.next(&self.shards, PAGE_MAX, wait, deadline).await?;
        self.ask_at = Instant::now() + if page.more { Duration::ZERO } else { INTERVAL };
        Ok(StreamEventsResponse { events: page.events })
    }
}
