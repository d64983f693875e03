//! `StreamCoupons`: all coupons of a campaign on their way to a client.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::CampaignName;
use coupon_proto::internal::{self, CouponIssued};
use coupon_proto::v1::{Coupon, StreamCouponsRequest, StreamCouponsResponse};
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::check;
use super::parts::{Parts, pump};
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::topology::Topology;
use crate::shards::read::CouponStream;
use crate::shards::shard_client::ShardClient;

/// How long a stream of coupons waits for the shard's next message. The stream as a whole may take as
/// long as its reader wants.
const SHARD_PATIENCE: Duration = Duration::from_secs(10);

/// Sends all coupons of a campaign, once one of the `exports` is free.
///
/// # Errors
/// [`Fault`], when no coupon was sent.
pub(super) async fn stream_coupons(
    shards: &Arc<ShardClient>,
    exports: &Arc<Semaphore>,
    request: &StreamCouponsRequest,
    deadline: Instant,
) -> Result<Parts<StreamCouponsResponse>, Fault> {
    let campaign = check::campaign_id(&request.campaign_id)?;
    let permit = Arc::clone(exports).try_acquire_owned().map_err(|_| Fault::Overloaded)?;
    let (stream, topology) = shards.stream_coupons(&campaign, deadline).await?;
    let export = Export::begin(Arc::clone(shards), topology, campaign, stream)?;
    Ok(export.send(permit))
}

/// A stream of coupons that the shard has begun.
struct Export {
    shards: Arc<ShardClient>,
    topology: Arc<Topology>,
    campaign: CampaignName,
    revision: i64,
    log_time_micros: u64,
    first: Option<Vec<CouponIssued>>,
    rest: Streaming<internal::StreamCouponsResponse>,
    /// How many coupons the shard still owes. A stream that ends before may look like one that is
    /// complete.
    owed: u64,
    sent_any: bool,
}

impl Export {
    /// Goes on with a stream whose first message has arrived.
    ///
    /// # Errors
    /// [`Fault::Internal`] when that message does not describe the campaign.
    fn begin(
        shards: Arc<ShardClient>,
        topology: Arc<Topology>,
        campaign: CampaignName,
        stream: CouponStream,
    ) -> Result<Self, Fault> {
        let record = stream.first.campaign;
        let record = record.ok_or(Fault::Internal("a shard streamed a nameless campaign"))?;
        let counters = record.counters.unwrap_or_default();
        Ok(Self {
            shards,
            topology,
            campaign,
            revision: i64::try_from(counters.revision).unwrap_or(i64::MAX),
            log_time_micros: stream.first.log_time_micros,
            first: Some(stream.first.coupons),
            rest: stream.rest,
            owed: counters.issued,
            sent_any: false,
        })
    }

    /// Starts the task that sends everything; `permit` is given back when it ends.
    fn send(self, permit: OwnedSemaphorePermit) -> Parts<StreamCouponsResponse> {
        let parts = stream::try_unfold(self, |mut export| async {
            let part = export.next().await?;
            Ok(part.map(|part| (part, export)))
        });
        pump(parts, permit, Fault::StreamBroken)
    }

    /// The next part; `None` at the end. A campaign without coupons has one empty part.
    async fn next(&mut self) -> Result<Option<StreamCouponsResponse>, Fault> {
        loop {
            let coupons = match self.first.take() {
                Some(first) => first,
                None => match self.receive().await? {
                    Some(message) => message.coupons,
                    None if self.owed > 0 => return Err(Fault::StreamBroken),
                    None if self.sent_any => return Ok(None),
                    None => {
                        self.sent_any = true;
                        return Ok(Some(self.part(Vec::new())));
                    }
                },
            };
            if coupons.is_empty() {
                continue;
            }
            self.sent_any = true;
            self.owed = self.owed.checked_sub(coupons.len() as u64).ok_or(Fault::StreamBroken)?;
            return self.show(coupons).await.map(Some);
        }
    }

    /// The shard's next message; `None` at the end.
    async fn receive(&mut self) -> Result<Option<internal::StreamCouponsResponse>, Fault> {
        match timeout(SHARD_PATIENCE, self.rest.message()).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(status)) => {
                tracing::warn!(
                    code = ?status.code(), message = status.message(),
                    "a stream of coupons broke",
                );
                Err(Fault::StreamBroken)
            }
            Err(_) => Err(Fault::StreamBroken),
        }
    }

    async fn show(&mut self, coupons: Vec<CouponIssued>) -> Result<StreamCouponsResponse, Fault> {
        let deadline = Instant::now() + SHARD_PATIENCE;
        let topology = Arc::clone(&self.topology);
        let topology = self.shards.with_keys(topology, coupons.iter(), deadline).await;
        self.topology = topology.ok_or(Fault::StreamBroken)?;
        let shown = coupons.into_iter().map(|coupon| {
            let campaign_id = self.campaign.id().to_owned();
            convert::coupon(campaign_id, coupon, &self.topology, self.log_time_micros)
        });
        let shown = shown.collect::<Result<_, _>>()?;
        Ok(self.part(shown))
    }

    fn part(&self, coupons: Vec<Coupon>) -> StreamCouponsResponse {
        StreamCouponsResponse { coupons, revision: self.revision }
    }
}
