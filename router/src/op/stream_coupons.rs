//! `StreamCoupons`: all coupons of a campaign on their way to a client.
//!
//! A task takes parts from the shard and hands them to the call, as far as the client takes them. It
//! holds a permit for an export, and gives it back when it ends: a client that takes nothing
//! keeps one for [`CLIENT_PATIENCE`] at most.
//!
//! Caveat: what the client had not taken by then, at most two parts, stays in memory as long as its
//! connection keeps the call.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::CampaignName;
use coupon_proto::internal::{self, CouponIssued};
use coupon_proto::v1::{Coupon, StreamCouponsRequest, StreamCouponsResponse};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use super::check;
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::topology::Topology;
use crate::shards::read::CouponStream;
use crate::shards::shard_client::ShardClient;

/// How long a stream of coupons waits for the shard's next message. The stream as a whole may take as
/// long as its reader wants.
const SHARD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a stream of coupons waits for its client to take a part. Long for a reader that works on
/// what it reads, and short for the others that want the permit.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// How many parts wait for the client, beside the one that the task holds.
const PARTS_WAITING_MAX: usize = 1;

/// What a client receives.
pub(super) type Parts = BoxStream<'static, Result<StreamCouponsResponse, Status>>;

/// Sends all coupons of a campaign, once one of the `exports` is free.
///
/// # Errors
/// [`Fault`], when no coupon was sent.
pub(super) async fn stream_coupons(
    shards: &Arc<ShardClient>,
    exports: &Arc<Semaphore>,
    request: &StreamCouponsRequest,
    deadline: Instant,
) -> Result<Parts, Fault> {
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
    fn send(self, permit: OwnedSemaphorePermit) -> Parts {
        let parts = stream::try_unfold(self, |mut export| async {
            let part = export.next().await?;
            Ok(part.map(|part| (part, export)))
        });
        pump(parts, permit)
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

/// Hands parts to a client from a task of their own, which ends when all are sent, when the client is
/// gone, or when it has taken nothing for [`CLIENT_PATIENCE`].
fn pump(
    parts: impl Stream<Item = Result<StreamCouponsResponse, Fault>> + Send + 'static,
    permit: OwnedSemaphorePermit,
) -> Parts {
    let (sender, receiver) = mpsc::channel(PARTS_WAITING_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        let mut parts = pin!(parts);
        loop {
            let part = tokio::select! {
                part = parts.try_next() => part,
                () = sender.closed() => return,
            };
            let last = !matches!(part, Ok(Some(_)));
            match sender.send_timeout(part, CLIENT_PATIENCE).await {
                Ok(()) if !last => {}
                Ok(()) | Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::info!("gave up a stream of coupons whose client takes nothing");
                    return;
                }
            }
        }
    });
    let received = stream::try_unfold(receiver, |mut receiver| async {
        match receiver.recv().await {
            Some(Ok(part)) => Ok(part.map(|part| (part, receiver))),
            Some(Err(fault)) => Err(fault.into_status()),
            // The task says when all is sent. It did not, so the client had its time.
            None => Err(Fault::StreamBroken.into_status()),
        }
    });
    received.boxed()
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tonic_types::StatusExt as _;

    use super::*;

    fn endless() -> impl Stream<Item = Result<StreamCouponsResponse, Fault>> {
        stream::repeat_with(|| Ok(StreamCouponsResponse::default()))
    }

    async fn sent(
        parts: impl Stream<Item = Result<StreamCouponsResponse, Fault>> + Send + 'static,
    ) -> Parts {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await;
        pump(parts, permit.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_permit_and_learns_that_parts_are_missing() {
        let permits = Arc::new(Semaphore::new(1));
        let mut parts = pump(endless(), Arc::clone(&permits).acquire_owned().await.unwrap());
        let begun = Instant::now();
        drop(permits.acquire().await.unwrap());
        assert_eq!(begun.elapsed().as_secs(), CLIENT_PATIENCE.as_secs());
        assert!(parts.next().await.unwrap().is_ok(), "what had been handed over is there");
        let broken = parts.next().await.unwrap().unwrap_err();
        assert_eq!(broken.get_details_error_info().unwrap().reason, "STREAM_BROKEN");
        assert!(parts.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hangs_up_gives_its_permit_back_at_once() {
        let permits = Arc::new(Semaphore::new(1));
        let silent = stream::pending();
        let parts = pump(silent, Arc::clone(&permits).acquire_owned().await.unwrap());
        let begun = Instant::now();
        drop(parts);
        drop(permits.acquire().await.unwrap());
        assert!(begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything() {
        let mut parts = sent(endless().take(5)).await;
        for _ in 0..5 {
            tokio::time::sleep(CLIENT_PATIENCE - Duration::from_secs(1)).await;
            parts.next().await.unwrap().unwrap();
        }
        assert!(parts.next().await.is_none(), "the end is no error");
    }
}
