//! `WatchCampaign`: a campaign as it is now, and whenever it changes.
//!
//! A message is made when the client has room for it, of the latest state. So a client that reads slowly misses states
//! in between, and nothing waits for it.

use std::net::IpAddr;
use std::sync::Arc;

use coupon_proto::v1::{CampaignState, WatchCampaignRequest, WatchCampaignResponse};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::check::Check;
use super::limits::Stopping;
use super::shares::{Bounds, Share, Shares};
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;
use crate::shards::watches::{Latest, Seen, Watches};

/// Each watch keeps little more than its connection.
const BOUNDS: Bounds = Bounds { all: 1_024, of_client: 256 };

/// What a client receives.
pub(super) type Changes = BoxStream<'static, Result<WatchCampaignResponse, Status>>;

/// What the watches of a router share.
#[derive(Debug)]
pub(super) struct Watching {
    shares: Shares,
    sources: Watches,
    stopping: Stopping,
}

impl Watching {
    /// Watches that end with `stopping`.
    pub(super) fn new(stopping: Stopping) -> Self {
        Self { shares: Shares::new(BOUNDS), sources: Watches::default(), stopping }
    }
}

/// Watches a campaign.
///
/// # Errors
/// [`Fault`], when nothing was shown.
pub(super) async fn watch_campaign(
    shards: &Arc<ShardClient>,
    watching: &Watching,
    request: &WatchCampaignRequest,
    client: Option<IpAddr>,
    deadline: Instant,
) -> Result<Changes, Fault> {
    let mut check = Check::default();
    let campaign = check.campaign_id(&request.campaign_id);
    let after_revision = u64::try_from(request.after_revision);
    if after_revision.is_err() {
        check.fail("after_revision", "must be 0 or more");
    }
    if CampaignState::try_from(request.after_state).is_err() {
        check.fail("after_state", "must be a CampaignState");
    }
    check.result()?;
    let (Some(campaign), Ok(after_revision)) = (campaign, after_revision) else {
        return Err(Fault::Internal("a request with violations has passed"));
    };
    let share = watching.shares.begin(client)?;
    // Before the read, so that no change falls in between.
    let mut latest = watching.sources.join(shards, &campaign)?;
    latest.mark_changed();
    let last = Seen::of(shards.read_campaign(&campaign, deadline).await?)?;
    let after_state = request.after_state();
    let other_state = after_state != CampaignState::Unspecified
        && after_state != convert::state_to_pb(last.state());
    // What the holds were that the client saw, it does not say.
    let is_shown = last.revision() == after_revision && !other_state && !last.has_holds();
    let stopping = watching.stopping.clone();
    let watch = Watch { latest, last, is_shown, stopping, _share: share };
    let changes = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        Some(match watch.next().await {
            Ok(seen) => (Ok(shown(&seen)), Some(watch)),
            Err(status) => (Err(status), None),
        })
    });
    Ok(changes.boxed())
}

fn shown(seen: &Seen) -> WatchCampaignResponse {
    let campaign = convert::campaign(seen.record.as_ref().clone(), seen.log_time_micros);
    WatchCampaignResponse { campaign: Some(campaign) }
}

/// A watch under way.
struct Watch {
    latest: watch::Receiver<Latest>,
    /// The latest state that this watch knows.
    last: Seen,
    /// Whether its client knows it as well.
    is_shown: bool,
    stopping: Stopping,
    _share: Share,
}

impl Watch {
    /// The next state to show.
    ///
    /// # Errors
    /// Why there is none: the last answer of the client.
    async fn next(&mut self) -> Result<Seen, Status> {
        while self.is_shown {
            tokio::select! {
                changed = self.latest.changed() => {
                    // A source says why it ends.
                    changed.map_err(|_| Fault::StreamEnded.into_status())?;
                }
                () = self.stopping.wait() => return Err(Fault::StreamEnded.into_status()),
            }
            let Some(latest) = self.latest.borrow_and_update().clone() else { continue };
            let seen = latest?;
            if seen.is_newer_than(&self.last) {
                (self.last, self.is_shown) = (seen, false);
            }
        }
        self.is_shown = true;
        Ok(self.last.clone())
    }
}
