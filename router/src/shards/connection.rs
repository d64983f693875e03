//! One open Propose stream to a shard's leader, and what is in flight on it.
//!
//! Invariant: every command that [`Connection::send`] took comes out exactly once, through
//! [`Connection::replies`] or through [`Connection::close`]. What it did not take was not sent.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use coupon_cluster::NodeId;
use coupon_proto::internal::{
    CommandBatch, ProposeRequest, ProposeResponse, Reply, ReplyBatch, RouterHello, propose_request,
    propose_response,
};
use coupon_trace::{Stage, Subject, Tag, mark};
use coupon_transport::AddressedChannel;
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::{Request, Status, Streaming};

use crate::route::leader::Route;
use crate::shards::codec::{self, ProposeCodec};
use crate::shards::submission::{Submission, Waiter};

/// How many commands a batch has at most; the node refuses more.
const BATCH_COMMANDS_MAX: usize = 1_024;

/// A batch takes no further command once it has so many bytes.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// How many batches wait for replies at most. What waits beyond them stays with the router, where it
/// is surely not proposed; and a node that stopped reading holds up at most 32 MiB.
const BATCHES_IN_FLIGHT_MAX: usize = 64;

/// How many commands wait for replies at most: several times what a shard commits in one sync.
const COMMANDS_IN_FLIGHT_MAX: usize = 16_384;

/// How large a batch of replies may be. Generous, since a reply that cannot be read would break the
/// stream again with every retry: 1,024 replies that each name many held coupons.
const REPLY_BYTES_MAX: usize = 256 << 20;

const PROPOSE: &str = "/coupon.internal.v1.ShardService/Propose";

/// A batch that waits for its replies.
struct InFlight {
    batch: CommandBatch,
    waiters: Vec<Option<Waiter>>,
    sent_at: Instant,
}

/// An open stream.
pub(crate) struct Connection {
    shard: Tag,
    route: Route,
    term: u64,
    outbound: mpsc::Sender<Bytes>,
    inbound: Streaming<ProposeResponse>,
    last_batch_id: u64,
    in_flight: BTreeMap<u64, InFlight>,
    commands_in_flight: usize,
    last_reply_at: Instant,
    /// Since when the stream takes nothing any more.
    closed_at: Option<Instant>,
}

impl Connection {
    /// Opens a stream and waits for the node's hello. The caller bounds the wait. Only the addressed node can
    /// say hello, and no command is sent before.
    ///
    /// # Errors
    /// The node's status when it does not lead the shard or is not meant, or the transport's.
    pub(crate) async fn open(
        node: NodeId,
        channel: AddressedChannel,
        hello: RouterHello,
    ) -> Result<Self, Status> {
        // Room for all that may be in flight, so that sending never waits.
        let (outbound, requests) = mpsc::channel(BATCHES_IN_FLIGHT_MAX + 1);
        let route = Route { node, forward: hello.forward };
        let shard = hello.shard_id.into();
        let hello = ProposeRequest { message: Some(propose_request::Message::Hello(hello)) };
        let gone = |_| Status::unavailable("the stream ended before hello");
        outbound.try_send(hello.encode_to_vec().into()).map_err(gone)?;

        let mut grpc = Grpc::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let requests = Request::new(ReceiverStream::new(requests));
        let path = PathAndQuery::from_static(PROPOSE);
        let mut inbound = grpc.streaming(requests, path, ProposeCodec).await?.into_inner();

        let term = match inbound.message().await?.and_then(|response| response.message) {
            Some(propose_response::Message::Hello(hello)) => hello.term,
            Some(propose_response::Message::Batch(_)) | None => {
                return Err(Status::unavailable("the node did not say hello"));
            }
        };
        Ok(Self {
            shard,
            route,
            term,
            outbound,
            inbound,
            last_batch_id: 0,
            in_flight: BTreeMap::new(),
            commands_in_flight: 0,
            last_reply_at: Instant::now(),
            closed_at: None,
        })
    }

    /// The node at the other end.
    pub(crate) fn node(&self) -> NodeId {
        self.route.node
    }

    /// The way it takes to the leader.
    pub(crate) fn route(&self) -> Route {
        self.route
    }

    /// The term that it was opened in.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// Whether it takes nothing any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// How many commands wait for replies.
    pub(crate) fn commands_in_flight(&self) -> usize {
        self.commands_in_flight
    }

    /// Since when replies are owed and none came, or nothing can be sent; `None` when neither is so. A
    /// shard that is behind replies late but steadily, and is not silent.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let oldest = self.in_flight.first_key_value();
        let owed = oldest.map(|(_, oldest)| oldest.sent_at.max(self.last_reply_at));
        owed.into_iter().chain(self.closed_at).min()
    }

    /// Takes commands that wait and sends them as one batch. Returns whether it did; if not, they wait
    /// on in the same order. Callers that have gone are forgotten here, before their commands cost
    /// anything.
    pub(crate) fn send(&mut self, backlog: &mut VecDeque<Submission>, now: Instant) -> bool {
        let full = self.in_flight.len() >= BATCHES_IN_FLIGHT_MAX
            || self.commands_in_flight >= COMMANDS_IN_FLIGHT_MAX;
        if full || self.closed_at.is_some() || backlog.is_empty() {
            return false;
        }
        let (mut batch, mut waiters, mut bytes) = (CommandBatch::default(), Vec::new(), 0);
        let batch_id = self.last_batch_id + 1;
        while waiters.len() < BATCH_COMMANDS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(next) = backlog.pop_front() else { break };
            let Submission { command, deadline_micros, waiter } = next;
            if waiter.is_gone() {
                continue;
            }
            let deadline = waiter.deadline.into_std().into();
            let (shard, in_batch) = (self.shard, batch_id.into());
            mark(Stage::Batched, Subject::RequestInBatch { deadline, shard, batch: in_batch });
            bytes += command.len();
            batch.commands.push(command);
            batch.deadline_micros.push(deadline_micros);
            waiters.push(Some(waiter));
        }
        if waiters.is_empty() {
            return false;
        }

        batch.batch_id = batch_id;
        let sent = self.outbound.try_send(codec::encode_batch(&batch));
        let in_flight = InFlight { batch, waiters, sent_at: now };
        if sent.is_err() {
            // The status that closed the stream comes where replies are received. Until then nothing
            // can have happened to these commands.
            self.closed_at.get_or_insert(now);
            let unsent: Vec<_> = in_flight.into_submissions().flatten().collect();
            unsent.into_iter().rev().for_each(|submission| backlog.push_front(submission));
            return false;
        }
        mark(Stage::BatchSent, Subject::Batch { shard: self.shard, batch: batch_id.into() });
        self.last_batch_id = batch_id;
        self.commands_in_flight += in_flight.waiters.len();
        self.in_flight.insert(batch_id, in_flight);
        true
    }

    /// The next batch of replies. Safe to cancel.
    ///
    /// # Errors
    /// When the stream is over.
    pub(crate) async fn receive(&mut self) -> Result<ReplyBatch, Status> {
        let response = self.inbound.message().await?;
        let response = response.ok_or_else(|| Status::unavailable("the stream ended"))?;
        match response.message {
            Some(propose_response::Message::Batch(batch)) => Ok(batch),
            Some(propose_response::Message::Hello(_)) | None => {
                Err(Status::internal("the node sent no replies"))
            }
        }
    }

    /// Brings replies and commands together. `None` when there is no such batch or the replies are
    /// too few or too many: the stream cannot be trusted any more.
    pub(crate) fn replies(
        &mut self,
        replies: ReplyBatch,
    ) -> Option<impl Iterator<Item = (Submission, Reply)> + use<>> {
        let in_flight = self.in_flight.get(&replies.batch_id)?;
        if in_flight.waiters.len() != replies.replies.len() {
            return None;
        }
        let in_flight = self.in_flight.remove(&replies.batch_id)?;
        self.commands_in_flight -= in_flight.waiters.len();
        self.last_reply_at = Instant::now();
        let (shard, batch) = (self.shard, replies.batch_id.into());
        mark(Stage::RepliesReceived, Subject::Batch { shard, batch });
        Some(
            in_flight
                .into_submissions()
                .zip(replies.replies)
                .filter_map(|(submission, reply)| submission.map(|submission| (submission, reply))),
        )
    }

    /// Ends the stream. Returns what was in flight, in the order it was sent.
    pub(crate) fn close(self) -> Vec<Submission> {
        self.in_flight.into_values().flat_map(InFlight::into_submissions).flatten().collect()
    }

    /// Takes the waiters whose time is over; their replies, should they still come, are dropped.
    pub(crate) fn take_ended(&mut self, now: Instant) -> Vec<Waiter> {
        let waiters = self.in_flight.values_mut().flat_map(|in_flight| &mut in_flight.waiters);
        waiters.filter_map(|waiter| waiter.take_if(|waiter| waiter.is_over(now))).collect()
    }

    /// The earliest deadline of all that is in flight.
    pub(crate) fn earliest_deadline(&self) -> Option<Instant> {
        let waiters = self.in_flight.values().flat_map(|in_flight| &in_flight.waiters);
        waiters.flatten().map(|waiter| waiter.deadline).min()
    }
}

impl InFlight {
    /// The commands with those who wait for them; nothing in the place of those who have gone.
    fn into_submissions(self) -> impl Iterator<Item = Option<Submission>> {
        let CommandBatch { commands, deadline_micros, .. } = self.batch;
        let commands = commands.into_iter().zip(deadline_micros).zip(self.waiters);
        commands.map(|((command, deadline_micros), waiter)| {
            waiter.map(|waiter| Submission { command, deadline_micros, waiter })
        })
    }
}

#[cfg(test)]
impl Connection {
    /// A stream of which the other end is in a test.
    pub(crate) fn with_outbound(route: Route, outbound: mpsc::Sender<Bytes>) -> Self {
        Self {
            shard: Tag::default(),
            route,
            term: 1,
            outbound,
            inbound: Streaming::new_empty(ProposeCodec, tonic::body::Body::empty()),
            last_batch_id: 0,
            in_flight: BTreeMap::new(),
            commands_in_flight: 0,
            last_reply_at: Instant::now(),
            closed_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::route::retry::Attempts;
    use crate::shards::submission::Answer;

    fn submission(deadline_micros: u64) -> (Submission, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + Duration::from_secs(1);
        let waiter = Waiter { deadline, attempts: Attempts::default(), answer };
        (Submission { command: Bytes::from_static(b"abc"), deadline_micros, waiter }, answered)
    }

    #[test]
    fn what_a_closed_stream_does_not_take_waits_on_in_order_and_is_not_in_flight() {
        let (outbound, requests) = mpsc::channel(1);
        let node = NodeId::new(1).unwrap();
        let mut connection = Connection::with_outbound(Route { node, forward: false }, outbound);
        drop(requests);
        let (submissions, _answers): (VecDeque<_>, Vec<_>) = (1..=3).map(submission).unzip();
        let mut backlog = submissions;
        let now = Instant::now();
        assert!(!connection.send(&mut backlog, now));
        let order: Vec<_> = backlog.iter().map(|waiting| waiting.deadline_micros).collect();
        assert_eq!(order, [1, 2, 3]);
        assert_eq!(connection.commands_in_flight(), 0);
        assert_eq!(connection.silent_since(), Some(now), "it is given up if it says nothing");
        assert!(connection.close().is_empty());
    }
}
