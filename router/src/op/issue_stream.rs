//! `IssueStream`: coupons for a caller that has many to issue, over one call.
//!
//! A task reads requests as long as there is room for them, lets them be issued side by side, and sends each answer as
//! soon as it is there. Without room it reads nothing more, and HTTP/2 holds the caller up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use coupon_proto::v1::{
    IssueCouponResponse, IssueStreamRequest, IssueStreamResponse, issue_stream_response,
};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::issue_coupon::issue_coupon;
use super::limits::{Permits, Stopping};
use super::memory::{Occupied, RequestMemory};
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Maximum number of unanswered requests of a stream: as many as a log entry of a shard has.
const CALLS_MAX: usize = 1_024;

/// Size of requests of a stream beyond which no more are taken before some are answered.
const CALLS_BYTES: usize = 1 << 20;

/// What a request takes as long as its answer is not sent, besides its own bytes and as many that the answer repeats.
const CALL_BYTES: usize = 512;

/// Number of answers that wait for the caller.
const ANSWERS_WAITING_MAX: usize = 64;

/// How long a stream waits for its caller to take an answer.
const CALLER_PATIENCE: Duration = Duration::from_secs(30);

/// Time for a request that sets no timeout: that of a call without a deadline.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Maximum time for a request: that of any other call.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What a caller receives.
pub(super) type Answers = BoxStream<'static, Result<IssueStreamResponse, Status>>;

/// Issues coupons until the caller has no more requests, or the router stops.
pub(super) fn issue_stream(
    shards: &Arc<ShardClient>,
    permits: &Permits,
    requests: Streaming<IssueStreamRequest>,
    memory: RequestMemory,
    stopping: Stopping,
) -> Answers {
    let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
    let session = Session { shards: Arc::clone(shards), permits: permits.clone(), memory, answers };
    tokio::spawn(session.run(requests, stopping));
    ReceiverStream::new(receiver).map_ok(|answered| answered.answer).boxed()
}

/// A stream of a caller.
struct Session {
    shards: Arc<ShardClient>,
    permits: Permits,
    memory: RequestMemory,
    answers: mpsc::Sender<Result<Answered, Status>>,
}

/// A request that was answered.
struct Answered {
    request_bytes: usize,
    answer: IssueStreamResponse,
    /// What it and its answer hold, until the answer is taken.
    _occupied: Occupied,
}

/// What waits to be read from a caller.
enum Reading {
    /// More requests.
    More,
    /// Nothing: all was read that will be.
    Ended,
    /// Nothing: what came last is refused.
    Refused(Status),
}

impl Session {
    async fn run(self, mut requests: Streaming<IssueStreamRequest>, mut stopping: Stopping) {
        let mut calls: FuturesUnordered<BoxFuture<'static, Answered>> = FuturesUnordered::new();
        // Answers wait here, so that a caller that does not take them holds up nothing but its own stream: calls go
        // on, and their permits are free for others as soon as they are answered.
        let mut unsent: VecDeque<Answered> = VecDeque::new();
        let mut bytes = 0;
        let mut give_up_at = Instant::now();
        let mut reading = Reading::More;
        loop {
            let is_open = matches!(reading, Reading::More);
            if !is_open && calls.is_empty() && unsent.is_empty() {
                break;
            }
            let has_room = calls.len() + unsent.len() < CALLS_MAX && bytes < CALLS_BYTES;
            tokio::select! {
                biased;
                () = self.answers.closed() => return,
                room = self.answers.reserve(), if !unsent.is_empty() => {
                    let (Ok(room), Some(answered)) = (room, unsent.pop_front()) else { return };
                    bytes -= answered.request_bytes;
                    room.send(Ok(answered));
                    give_up_at = Instant::now() + CALLER_PATIENCE;
                }
                Some(answered) = calls.next(), if !calls.is_empty() => {
                    if unsent.is_empty() {
                        give_up_at = Instant::now() + CALLER_PATIENCE;
                    }
                    unsent.push_back(answered);
                }
                () = sleep_until(give_up_at), if !unsent.is_empty() => return,
                request = requests.message(), if is_open && has_room => match request {
                    Ok(Some(request)) => {
                        let (request_bytes, mut occupied) =
                            (request.encoded_len(), self.memory.occupy());
                        if occupied.set(2 * request_bytes + CALL_BYTES) {
                            bytes += request_bytes;
                            calls.push(self.call(request, occupied).boxed());
                        } else {
                            reading = Reading::Refused(Fault::Overloaded.into_status());
                        }
                    }
                    Ok(None) => reading = Reading::Ended,
                    Err(status) => reading = Reading::Refused(explain(status)),
                },
                () = stopping.wait(), if is_open => reading = Reading::Ended,
            }
        }
        if let Reading::Refused(why) = reading {
            // A caller that takes nothing any more is told nothing.
            let _ = self.answers.send_timeout(Err(why), CALLER_PATIENCE).await;
        }
    }

    /// Works on a request.
    fn call(
        &self,
        request: IssueStreamRequest,
        occupied: Occupied,
    ) -> impl Future<Output = Answered> + Send + use<> {
        let (shards, permit) = (Arc::clone(&self.shards), self.permits.for_request());
        let begun = Instant::now();
        async move {
            let (tag, request_bytes) = (request.tag, request.encoded_len());
            let result = match issue(&shards, permit, request, begun).await {
                Ok(response) => issue_stream_response::Result::Response(response),
                Err(fault) => issue_stream_response::Result::Error(fault.into_pb()),
            };
            let answer = IssueStreamResponse { tag, result: Some(result) };
            Answered { request_bytes, answer, _occupied: occupied }
        }
    }
}

/// Why no request could be read. Our own errors have details; the framework's say that what came is no request.
pub(super) fn explain(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let why = "must be valid protobuf of at most 65536 bytes; strings must be UTF-8";
    Fault::field("request", why).into_status()
}

/// Issues a coupon, if there is a permit for it.
///
/// # Errors
/// [`Fault`].
async fn issue(
    shards: &ShardClient,
    permit: Option<OwnedSemaphorePermit>,
    request: IssueStreamRequest,
    begun: Instant,
) -> Result<IssueCouponResponse, Fault> {
    let _permit = permit.ok_or(Fault::Overloaded)?;
    let timeout = match request.timeout {
        None => TIMEOUT_DEFAULT,
        Some(timeout) => Duration::try_from(timeout)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| Fault::field("timeout", "must be more than nothing"))?,
    };
    let request = request.request.ok_or_else(|| Fault::field("request", "must be set"))?;
    issue_coupon(shards, request, begun + timeout.min(TIMEOUT_MAX)).await
}
