//! `StreamCoupons`: all coupons of a campaign on their way to a client.
//!
//! A stream is read part by part, each at the revision that the stream has. So it holds nothing at the shard, goes on
//! after a change of leaders, and can be resumed through any router, as long as the shard knows what the coupons were
//! at that revision.
//!
//! A task reads parts and hands them to the call, as far as the client takes them. It has a permit for an export, and
//! gives it back when it ends: a client that takes nothing keeps one for [`CLIENT_PATIENCE`] at most, and a client that
//! is slow for [`STREAM_TIME_MAX`].
//!
//! Caveat: what the client had not taken by then, at most two parts, stays in memory as long as its
//! connection keeps the call.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::CampaignName;
use coupon_proto::internal::{
    CampaignRevision, CouponPlace, ListCouponsQuery, ReadResponse, Refusal, RefusalReason,
    read_request,
};
use coupon_proto::v1::{StreamCouponsRequest, StreamCouponsResponse};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::check;
use super::exports::{ExportPermit, Exports};
use super::limits::Stopping;
use super::token::{checksum_of, from_token, to_token};
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::topology::{Destination, Topology};
use crate::shards::shard_client::ShardClient;

/// How long a stream of coupons waits for the shard's next part.
const SHARD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a stream of coupons waits for its client to take a part. Long for a reader that works on
/// what it reads, and short for the others that want the permit.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// How long a stream lasts. A reader that needs longer resumes it, unless others have taken its permit.
const STREAM_TIME_MAX: Duration = Duration::from_secs(600);

/// How many parts wait for the client, beside the one that the task holds.
const PARTS_WAITING_MAX: usize = 1;

/// Number of coupons in a part: usually about 100 KB. A shard ends a part at 1 MiB.
const PART_COUPONS: u32 = 500;

/// What a client receives.
pub(super) type Parts = BoxStream<'static, Result<StreamCouponsResponse, Status>>;

/// Sends the coupons of a campaign, all of them or those after a part of an earlier stream.
///
/// # Errors
/// [`Fault`], when no coupon was sent.
pub(super) async fn stream_coupons(
    shards: &Arc<ShardClient>,
    exports: &Arc<Exports>,
    request: &StreamCouponsRequest,
    client: Option<IpAddr>,
    deadline: Instant,
    stopping: Stopping,
) -> Result<Parts, Fault> {
    let campaign = check::campaign_id(&request.campaign_id)?;
    let permit = exports.begin(client)?;
    let topology = shards.topology(deadline).await?;
    let position = Position::of(shards, &topology, &campaign, request, deadline).await?;
    let shards = Arc::clone(shards);
    let mut export = Export { shards, topology, campaign, position, permit, is_complete: false };
    let first = export.read(deadline).await?;
    let parts = stream::try_unfold((Some(first), export), |(first, mut export)| async {
        let part = match first {
            Some(first) => Some(first),
            None => export.next().await?,
        };
        Ok(part.map(|part| (part, (None, export))))
    });
    Ok(pump(parts, Instant::now() + STREAM_TIME_MAX, stopping))
}

/// Where a stream is.
#[derive(Clone, PartialEq, prost::Message)]
struct Position {
    /// Which stream it is: a checksum of the cluster and the campaign.
    #[prost(fixed32, tag = "1")]
    stream: u32,
    /// The revision that the stream shows.
    #[prost(uint64, tag = "2")]
    revision: u64,
    /// How many coupons the campaign had issued then.
    #[prost(uint64, tag = "3")]
    issued: u64,
    /// The log time then, at which coupons are shown.
    #[prost(uint64, tag = "4")]
    log_time_micros: u64,
    /// The sequence number of the last coupon sent.
    #[prost(uint64, tag = "5")]
    after: u64,
    /// Which history of the shard it is: the first block of code counters that it may use.
    #[prost(uint64, tag = "6")]
    first_block: u64,
}

impl Position {
    /// Where the stream that is asked for begins.
    ///
    /// # Errors
    /// [`Fault`], also when the resume token is of no stream of the campaign.
    async fn of(
        shards: &ShardClient,
        topology: &Topology,
        campaign: &CampaignName,
        request: &StreamCouponsRequest,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        // A restored cluster has another id, and may come to the same revision another way.
        let stream = checksum_of(&["stream", topology.cluster_id(), campaign.as_str()]);
        if !request.resume_token.is_empty() {
            let read: Option<Self> = from_token(&request.resume_token);
            let read = read.filter(|read| read.stream == stream && read.after <= read.issued);
            let why = "must be the resume_token of a part of a stream of this campaign";
            return read.ok_or_else(|| Fault::field("resume_token", why));
        }
        let mut read = shards.read_campaign(campaign, deadline).await?;
        let counters = read.campaigns.pop().and_then(|found| found.counters);
        let counters = counters.ok_or(Fault::Internal("a shard showed no campaign"))?;
        let (revision, issued) = (counters.revision, counters.issued);
        let ReadResponse { log_time_micros, first_block, .. } = read;
        Ok(Self { stream, revision, issued, log_time_micros, after: 0, first_block })
    }
}

/// A stream of coupons under way.
struct Export {
    shards: Arc<ShardClient>,
    topology: Arc<Topology>,
    campaign: CampaignName,
    position: Position,
    permit: ExportPermit,
    is_complete: bool,
}

impl Export {
    /// The next part; `None` at the end.
    async fn next(&mut self) -> Result<Option<StreamCouponsResponse>, Fault> {
        if self.is_complete {
            return Ok(None);
        }
        let part = self.read(Instant::now() + SHARD_PATIENCE).await;
        let is_late = matches!(part, Err(Fault::Unanswered(_)));
        if is_late { Err(Fault::StreamBroken) } else { part.map(Some) }
    }

    /// Reads the next part. A campaign without coupons has one empty part.
    async fn read(&mut self, deadline: Instant) -> Result<StreamCouponsResponse, Fault> {
        let Position { revision, issued, after, first_block, .. } = self.position;
        let query = read_request::Query::ListCoupons(ListCouponsQuery {
            tenant: check::tenant().to_string(),
            campaign_id: self.campaign.id().to_owned(),
            after: Some(CouponPlace { sequence: after, ..CouponPlace::default() }),
            limit: PART_COUPONS,
            as_of: Some(CampaignRevision { revision, issued, first_block }),
            ..ListCouponsQuery::default()
        });
        let owner = Destination::Owner(&self.campaign);
        let turn = self.permit.turn(self.topology.shard_of(owner), deadline).await?;
        let answer = self.shards.read_from(owner, query, deadline).await?;
        drop(turn);
        self.part(answer, deadline).await
    }

    /// An answer as a part, with which the stream goes on.
    async fn part(
        &mut self,
        answer: ReadResponse,
        deadline: Instant,
    ) -> Result<StreamCouponsResponse, Fault> {
        let coupons = answer.coupons.iter().filter_map(|found| found.coupon.as_ref());
        let topology = Arc::clone(&self.topology);
        let topology = self.shards.with_keys(topology, coupons, deadline).await;
        self.topology = topology.ok_or(Fault::StreamBroken)?;
        let last = answer.coupons.last().and_then(|last| last.coupon.as_ref());
        let last = last.map_or(self.position.after, |last| last.sequence);
        let coupons = answer.coupons.into_iter().map(|found| {
            let (id, coupon) = (found.campaign_id, found.coupon.unwrap_or_default());
            convert::coupon(id, coupon, &self.topology, self.position.log_time_micros)
        });
        let coupons = coupons.collect::<Result<Vec<_>, _>>()?;
        self.is_complete = last >= self.position.issued;
        if coupons.is_empty() && !self.is_complete {
            // The campaign has fewer coupons than it had then: its shard was restored.
            let reason = RefusalReason::RevisionGone.into();
            let gone = Refusal { reason, ..Refusal::default() };
            return Err(Fault::refused(gone, &self.topology));
        }
        self.position.after = last;
        let resume_token = if self.is_complete { String::new() } else { to_token(&self.position) };
        Ok(StreamCouponsResponse {
            coupons,
            revision: i64::try_from(self.position.revision).unwrap_or(i64::MAX),
            resume_token,
            coupon_count: i64::try_from(self.position.issued).unwrap_or(i64::MAX),
        })
    }
}

/// Hands parts to a client from a task of their own, which ends when all are sent, when the client is
/// gone, when it has taken nothing for [`CLIENT_PATIENCE`], at `end`, or when the router stops.
fn pump(
    parts: impl Stream<Item = Result<StreamCouponsResponse, Fault>> + Send + 'static,
    end: Instant,
    mut stopping: Stopping,
) -> Parts {
    let (sender, receiver) = mpsc::channel(PARTS_WAITING_MAX);
    tokio::spawn(async move {
        let mut parts = pin!(parts);
        loop {
            let part = tokio::select! {
                part = parts.try_next() => part,
                () = sender.closed() => return,
                () = sleep_until(end) => return,
                () = stopping.wait() => return,
            };
            let last = !matches!(part, Ok(Some(_)));
            let patience = CLIENT_PATIENCE.min(end.saturating_duration_since(Instant::now()));
            match sender.send_timeout(part, patience).await {
                Ok(()) if !last => {}
                Ok(()) | Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::info!("gave up a stream of coupons whose client takes too little");
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
    use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
    use tonic_types::StatusExt as _;

    use super::*;

    /// A stream without an end, and the one permit, which it holds.
    async fn endless() -> (Parts, Arc<Semaphore>) {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let parts = stream::repeat_with(|| Ok(StreamCouponsResponse::default()));
        (pump(holding(permit, parts), Instant::now() + STREAM_TIME_MAX, never()), permits)
    }

    /// The word of a router that does not stop.
    fn never() -> Stopping {
        let (sender, receiver) = watch::channel(false);
        // Kept for ever, since a router that is gone has stopped.
        std::mem::forget(sender);
        Stopping::new(receiver)
    }

    fn holding<T>(
        permit: OwnedSemaphorePermit,
        parts: impl Stream<Item = T> + Send + 'static,
    ) -> impl Stream<Item = T> + Send + 'static {
        parts.inspect(move |_| {
            let _ = &permit;
        })
    }

    fn reason(status: &Status) -> String {
        status.get_details_error_info().unwrap().reason
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_permit_and_learns_that_parts_are_missing() {
        let (mut parts, permits) = endless().await;
        let begun = Instant::now();
        drop(permits.acquire().await.unwrap());
        assert_eq!(begun.elapsed().as_secs(), CLIENT_PATIENCE.as_secs());
        assert!(parts.next().await.unwrap().is_ok(), "what had been handed over is there");
        let broken = parts.next().await.unwrap().unwrap_err();
        assert_eq!(reason(&broken), "STREAM_BROKEN");
        assert!(parts.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_little_loses_its_permit_in_the_end() {
        let (mut parts, permits) = endless().await;
        let begun = Instant::now();
        let broken = loop {
            tokio::time::sleep(CLIENT_PATIENCE - Duration::from_secs(5)).await;
            match parts.next().await.unwrap() {
                Ok(_) => assert!(begun.elapsed() < STREAM_TIME_MAX + 3 * CLIENT_PATIENCE),
                Err(status) => break status,
            }
        };
        assert_eq!(reason(&broken), "STREAM_BROKEN");
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hangs_up_gives_its_permit_back_at_once() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let parts =
            pump(holding(permit, stream::pending()), Instant::now() + STREAM_TIME_MAX, never());
        let begun = Instant::now();
        drop(parts);
        drop(permits.acquire().await.unwrap());
        assert!(begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything() {
        let parts = stream::repeat_with(|| Ok(StreamCouponsResponse::default())).take(5);
        let mut parts = pump(parts, Instant::now() + STREAM_TIME_MAX, never());
        for _ in 0..5 {
            tokio::time::sleep(CLIENT_PATIENCE - Duration::from_secs(1)).await;
            parts.next().await.unwrap().unwrap();
        }
        assert!(parts.next().await.is_none(), "the end is no error");
    }
}
