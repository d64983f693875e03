//! `ListEvents`.

use std::time::Duration;

use coupon_proto::v1::{ListEventsRequest, ListEventsResponse};
use tokio::time::Instant;

use super::check::Check;
use super::event_page::Place;
use crate::answer::convert::to_i64;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

const PAGE_DEFAULT: u32 = 100;

/// Shows events of a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn list_events(
    shards: &ShardClient,
    request: &ListEventsRequest,
    deadline: Instant,
) -> Result<ListEventsResponse, Fault> {
    let mut check = Check::default();
    let limit = check.page_size(request.page_size, PAGE_DEFAULT).unwrap_or(PAGE_DEFAULT);
    let ListEventsRequest { campaign_id, after_revision, history_id, .. } = request;
    let mut place = Place::checked(check, campaign_id, *after_revision, *history_id)?;
    let page = place.next(shards, limit, Duration::ZERO, deadline).await?;
    let revision = to_i64(page.revision);
    Ok(ListEventsResponse { events: page.events, revision })
}
