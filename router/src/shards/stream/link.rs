//! The connection of a stream: how it is opened, moved to the leader itself, and lost.

use coupon_cluster::NodeId;
use coupon_env::entropy::fraction;
use coupon_proto::internal::RouterHello;
use coupon_transport::{AddressedChannel, Mismatch};
use coupon_wire::refusal;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};
use tonic::Status;

use super::{ShardStream, StreamContext};
use crate::route::leader::{DIRECT_INTERVAL, Route};
use crate::route::retry::{self, Miss};
use crate::shards::connection::Connection;
use crate::shards::pool::Lane;
use crate::shards::submission::{Answer, Submission};

/// A stream that is being opened.
pub(super) type Opening = BoxFuture<'static, Result<Box<Connection>, NotOpened>>;

/// Why a stream was not opened.
pub(super) struct NotOpened {
    pub(super) node: NodeId,
    pub(super) asked_at: Instant,
    pub(super) status: Status,
}

/// The state of the connection.
pub(super) enum Link {
    /// None, and nothing to send.
    Idle,
    /// None until then.
    Pausing(Instant),
    /// Being made.
    Opening(Opening),
    /// There is one.
    Open(Box<Connection>),
}

impl ShardStream {
    /// Begins to open a stream to the node that should lead the shard.
    pub(super) fn open(&mut self, now: Instant) {
        let StreamContext { directory, pool, .. } = &self.context;
        let candidate = directory.current().and_then(|topology| {
            let route = self.leader.lock().choose(topology.replicas(self.shard), now)?;
            let peer = topology.peer(route.node)?;
            Some((route, pool.addressed(peer, Lane::Calls)))
        });
        match candidate {
            Some((route, Ok(channel))) => self.link = Link::Opening(self.opening(route, channel)),
            Some((route, Err(error))) => {
                self.lost(route.node, &Status::unavailable(error.to_string()), now);
            }
            None => self.pause(false, now),
        }
    }

    /// Begins to open a stream to the leader itself, beside the one through another node.
    pub(super) fn open_directly(&mut self, now: Instant) {
        self.direct_at = now + DIRECT_INTERVAL;
        let Link::Open(connection) = &self.link else { return };
        let node = self.leader.lock().direct_target(connection.route());
        let StreamContext { directory, pool, .. } = &self.context;
        let candidate = directory.current().and_then(|topology| {
            let channel = pool.addressed(topology.peer(node)?, Lane::Calls).ok()?;
            Some((Route { node, forward: false }, channel))
        });
        self.direct = candidate.map(|(route, channel)| self.opening(route, channel));
    }

    fn opening(&mut self, route: Route, channel: AddressedChannel) -> Opening {
        self.streams_opened += 1;
        let hello = RouterHello {
            shard_id: self.shard.get(),
            router_id: self.context.router_id,
            stream_number: self.streams_opened,
            forward: route.forward,
        };
        let (node, bound) = (route.node, self.context.timing.hello);
        let asked_at = Instant::now();
        Box::pin(async move {
            let opened = timeout(bound, Connection::open(node, channel, hello)).await;
            let opened = opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("no hello")));
            opened.map(Box::new).map_err(|status| NotOpened { node, asked_at, status })
        })
    }

    pub(super) fn opened(&mut self, connection: Box<Connection>) {
        let now = Instant::now();
        self.leader.lock().confirmed(connection.route(), now);
        self.direct_at = now + DIRECT_INTERVAL;
        self.link = Link::Open(connection);
    }

    /// Moves to the stream to the leader itself, or learns from its failure where to try next.
    pub(super) fn direct_ended(&mut self, opened: Result<Box<Connection>, NotOpened>) {
        self.direct = None;
        match opened {
            Ok(connection) => {
                // What is on its way through the detour is sent once more.
                if let Link::Open(detour) = std::mem::replace(&mut self.link, Link::Idle) {
                    self.take_back(*detour);
                }
                self.opened(connection);
            }
            Err(NotOpened { node, status, .. }) => {
                if let Some(mismatch) = Mismatch::of(&status) {
                    self.context.directory.met(node, &mismatch);
                }
                self.leader.lock().direct_failed(&status);
            }
        }
    }

    /// There is no stream to a node, which was asked for one at `asked_at`.
    pub(super) fn lost(&mut self, node: NodeId, status: &Status, asked_at: Instant) {
        let now = Instant::now();
        tracing::debug!(
            shard = %self.shard, %node, code = ?status.code(), message = status.message(),
            "no stream",
        );
        if let Some(mismatch) = Mismatch::of(status) {
            self.context.directory.met(node, &mismatch);
        }
        let named = self.leader.lock().failed(node, status, asked_at, now);
        if refusal::says_diverged(status) {
            self.give_all_up();
        }
        self.pause(named, now);
    }

    /// Fails all waiting requests at once: the shard is stopped for good.
    fn give_all_up(&mut self) {
        for Submission { waiter, .. } in self.backlog.drain(..) {
            let diverged = waiter.attempts.diverged();
            waiter.answer(Answer::Unanswered(diverged));
        }
    }

    /// There is no stream any more; what was in flight may have been proposed.
    pub(super) fn broken(&mut self, status: &Status) {
        if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Idle) {
            let node = connection.node();
            self.take_back(*connection);
            // A leader replies steadily. One that has stopped counts as silent, whatever reads hear.
            self.lost(node, status, Instant::now());
        }
    }

    pub(super) fn take_back(&mut self, connection: Connection) {
        for mut submission in connection.close().into_iter().rev() {
            submission.waiter.attempts.missed(Miss::Unknown, &mut self.budget);
            self.backlog.push_front(submission);
        }
    }

    pub(super) fn pause(&mut self, leader_named: bool, now: Instant) {
        self.misses = self.misses.saturating_add(1);
        self.direct = None;
        self.link = Link::Pausing(now + retry::pause(self.misses, leader_named, fraction()));
    }
}
