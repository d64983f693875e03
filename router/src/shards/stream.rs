//! The one stream of this router to the leader of a shard, kept open by a task of its own.
//!
//! Commands wait in a backlog until a leader is found, travel in batches of whatever waits, and come
//! back into the backlog when they got no outcome. Each has a deadline, and the task answers it by
//! then, whatever the state of the shard: callers only wait for the answer.
//!
//! The loop is select → event → synchronous step; no step waits, so the queue into the task is always
//! drained at once and its bound is a formality.
//!
//! A stream may go through another node while the leader cannot be reached; then the leader is called now
//! and then, and the stream moves once it answers.
//!
//! Caveat: when a stream breaks, everything in flight on it may have been proposed, even where the
//! node would have said otherwise a moment later. That costs a deduplicated retry, not correctness.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::{Epoch, NodeId, ShardId};
use coupon_proto::internal::{
    NotProposed, NotProposedReason, Outcome, ReplyBatch, RouterHello, outcome, reply,
};
use coupon_transport::{AddressedChannel, Mismatch};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, timeout};
use tonic::Status;

use crate::route::leader::{self, DIRECT_INTERVAL, LeaderGuess, Route};
use crate::route::retry::{self, Attempts, Miss, RetryBudget, Timing, Unanswered};
use crate::shards::connection::Connection;
use crate::shards::directory::Directory;
use crate::shards::pool::{Lane, Pool};

/// How many commands a shard's stream holds, waiting and in flight, before it answers "overloaded":
/// about a tenth of a second of the fastest shard.
const HELD_MAX: usize = 65_536;

/// How many commands wait to be looked at by the task.
const QUEUE_MAX: usize = 4_096;

/// Minimum interval between sweeps for passed deadlines: a sweep visits every command held.
const SWEEP_INTERVAL: Duration = Duration::from_millis(5);

/// Maximum interval between sweeps for cancelled callers: they count towards [`HELD_MAX`], which keeps
/// others out, and their deadlines may be far away.
const GONE_INTERVAL: Duration = Duration::from_secs(1);

/// A command and who waits for it.
pub(crate) struct Submission {
    /// The command, encoded.
    pub(crate) command: Bytes,
    /// When its caller stops waiting, as the node is told: microseconds since 1970; 0: never.
    pub(crate) deadline_micros: u64,
    /// Who waits for it.
    pub(crate) waiter: Waiter,
}

/// Who waits for a command.
pub(crate) struct Waiter {
    /// When it must have been answered.
    pub(crate) deadline: Instant,
    /// What is known of the command so far.
    pub(crate) attempts: Attempts,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What became of a command.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every answer is the large one")]
pub(crate) enum Answer {
    /// The ledger answered.
    Outcome(Outcome),
    /// The shard does not own the campaign, or not at that epoch. The command may be sent again.
    Reroute {
        /// The epoch the shard is at.
        shard_epoch: Epoch,
        /// What is known of the command so far.
        attempts: Attempts,
    },
    /// Nobody answered in time.
    Unanswered(Unanswered),
}

impl Waiter {
    /// Whether the caller has hung up.
    pub(crate) fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Whether the caller has hung up or would by now.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.deadline <= now || self.is_gone()
    }

    fn answer(self, answer: Answer) {
        // The caller may have hung up, which is its right.
        let _ = self.answer.send(answer);
    }

    fn give_up(self) {
        let unanswered = self.attempts.unanswered();
        self.answer(Answer::Unanswered(unanswered));
    }
}

/// How to reach the stream of a shard. A cheap clone; the task ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct ShardHandle {
    /// Commands for the shard.
    pub(crate) queue: mpsc::Sender<Submission>,
    /// Who leads the shard; reads use and improve the same guess.
    pub(crate) leader: Arc<Mutex<LeaderGuess>>,
}

/// What all streams of a router share.
#[derive(Debug, Clone)]
pub(crate) struct StreamContext {
    pub(crate) router_id: u64,
    pub(crate) directory: Directory,
    pub(crate) pool: Arc<Pool>,
    pub(crate) timing: Timing,
}

/// Starts the task of a shard.
pub(crate) fn spawn(shard: ShardId, context: StreamContext) -> ShardHandle {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let stream = ShardStream::new(shard, context, queue);
    let leader = Arc::clone(&stream.leader);
    tokio::spawn(stream.run());
    ShardHandle { queue: sender, leader }
}

/// A stream that is being opened.
type Opening = BoxFuture<'static, Result<Box<Connection>, NotOpened>>;

/// Why a stream was not opened.
struct NotOpened {
    node: NodeId,
    asked_at: Instant,
    status: Status,
}

/// The state of the connection.
enum Link {
    /// None, and nothing to send.
    Idle,
    /// None until then.
    Pausing(Instant),
    /// Being made.
    Opening(Opening),
    /// There is one.
    Open(Box<Connection>),
}

/// What wakes the task.
enum Event {
    Arrived,
    QueueClosed,
    Opened(Result<Box<Connection>, NotOpened>),
    Direct(Result<Box<Connection>, NotOpened>),
    Received(Result<ReplyBatch, Status>),
    Due,
}

struct ShardStream {
    shard: ShardId,
    context: StreamContext,
    leader: Arc<Mutex<LeaderGuess>>,
    queue: mpsc::Receiver<Submission>,
    queue_closed: bool,
    arrived: Vec<Submission>,
    backlog: VecDeque<Submission>,
    link: Link,
    /// The attempt to do without a detour.
    direct: Option<Opening>,
    /// When the next such attempt may begin.
    direct_at: Instant,
    streams_opened: u64,
    /// Failures in a row, since the last outcome.
    misses: u32,
    budget: RetryBudget,
    /// Nothing is sent before, after an overloaded node asked for mercy.
    resume_at: Instant,
    /// When everything held was last walked over.
    swept_at: Instant,
    /// When that is due again; `None` when nothing is held.
    next_sweep: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl ShardStream {
    fn new(shard: ShardId, context: StreamContext, queue: mpsc::Receiver<Submission>) -> Self {
        let now = Instant::now();
        Self {
            shard,
            context,
            leader: Arc::new(Mutex::new(LeaderGuess::default())),
            queue,
            queue_closed: false,
            arrived: Vec::new(),
            backlog: VecDeque::new(),
            link: Link::Idle,
            direct: None,
            direct_at: now,
            streams_opened: 0,
            misses: 0,
            budget: RetryBudget::default(),
            resume_at: now,
            swept_at: now,
            next_sweep: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    async fn run(mut self) {
        while !(self.queue_closed && self.held() == 0) {
            // One time for both: what is too early for this step has to wake the task later.
            let now = Instant::now();
            self.step(now);
            match self.next_event(now).await {
                Event::Arrived => {
                    // Whoever is ready to send as well gets the chance to share the batch. This is no
                    // wait: the task runs again in this turn of the scheduler.
                    tokio::task::yield_now().await;
                    while let Ok(submission) = self.queue.try_recv() {
                        self.arrived.push(submission);
                    }
                    self.take_arrived(Instant::now());
                }
                Event::QueueClosed => self.queue_closed = true,
                Event::Opened(Ok(connection)) => self.opened(connection),
                Event::Opened(Err(NotOpened { node, asked_at, status })) => {
                    self.lost(node, &status, asked_at);
                }
                Event::Direct(opened) => self.direct_ended(opened),
                Event::Received(Ok(replies)) => self.received(replies),
                Event::Received(Err(status)) => self.broken(&status),
                Event::Due => {}
            }
        }
    }

    fn held(&self) -> usize {
        self.backlog.len() + self.in_flight()
    }

    fn in_flight(&self) -> usize {
        match &self.link {
            Link::Open(connection) => connection.commands_in_flight(),
            Link::Idle | Link::Pausing(_) | Link::Opening(_) => 0,
        }
    }

    async fn next_event(&mut self, now: Instant) -> Event {
        let due = self.due(now);
        // The timer is set back only when it is too late; fired too early, it is set again. Most
        // commands are answered long before their deadline and cost the timer nothing.
        if let Some(due) = due
            && (due < self.timer.deadline() || self.timer.is_elapsed())
        {
            self.timer.as_mut().reset(due);
        }
        let Self { queue, arrived, link, direct, timer, .. } = self;
        let direct_event = async {
            match direct {
                Some(opening) => Event::Direct(opening.await),
                None => std::future::pending().await,
            }
        };
        let link_event = async {
            match link {
                Link::Opening(opening) => Event::Opened(opening.await),
                Link::Open(connection) => tokio::select! {
                    received = connection.receive() => Event::Received(received),
                    event = direct_event => event,
                },
                Link::Idle | Link::Pausing(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            event = link_event => event,
            count = queue.recv_many(arrived, QUEUE_MAX), if !self.queue_closed => {
                if count == 0 { Event::QueueClosed } else { Event::Arrived }
            }
            () = timer.as_mut(), if due.is_some() => Event::Due,
        }
    }

    /// When there is something to do, after the step of `now`, even if nothing happens.
    fn due(&self, now: Instant) -> Option<Instant> {
        let link = match &self.link {
            Link::Pausing(until) => Some(*until),
            Link::Open(connection) => {
                let silence = connection.silent_since().map(|at| at + self.context.timing.reply);
                let resume = (!self.backlog.is_empty()).then_some(self.resume_at);
                let resume = resume.filter(|resume| *resume > now);
                let direct =
                    (connection.route().forward && self.direct.is_none()).then_some(self.direct_at);
                silence.into_iter().chain(resume).chain(direct).min()
            }
            Link::Idle | Link::Opening(_) => None,
        };
        link.into_iter().chain(self.next_sweep).min()
    }

    /// Does what can be done now.
    fn step(&mut self, now: Instant) {
        if self.next_sweep.is_some_and(|sweep| sweep <= now) {
            self.sweep(now);
        }
        match &mut self.link {
            Link::Idle => {
                if !self.backlog.is_empty() {
                    self.open(now);
                }
            }
            Link::Pausing(until) => {
                if *until <= now {
                    self.link = Link::Idle;
                    self.step(now);
                }
            }
            Link::Opening(_) => {}
            Link::Open(connection) => {
                let silent = connection.silent_since();
                if silent.is_some_and(|at| at + self.context.timing.reply <= now) {
                    self.broken(&Status::deadline_exceeded("no replies in time"));
                } else {
                    if self.resume_at <= now {
                        while connection.send(&mut self.backlog, now) {}
                    }
                    let detour = connection.route().forward;
                    if detour && self.direct.is_none() && self.direct_at <= now {
                        self.open_directly(now);
                    }
                }
            }
        }
    }

    fn take_arrived(&mut self, now: Instant) {
        let mut held = self.held();
        let (soonest, latest) = (self.swept_at + SWEEP_INTERVAL, now + GONE_INTERVAL);
        for mut submission in self.arrived.drain(..) {
            if held >= HELD_MAX {
                let attempts = &mut submission.waiter.attempts;
                let mut no_budget = RetryBudget::empty();
                attempts.missed(Miss::Overloaded, &mut no_budget);
                submission.waiter.give_up();
                continue;
            }
            held += 1;
            let due = submission.waiter.deadline.min(latest).max(soonest);
            self.next_sweep = Some(self.next_sweep.map_or(due, |sweep| sweep.min(due)));
            self.backlog.push_back(submission);
        }
    }

    /// Gives up what has reached its deadline, or has nobody left who waits for it.
    fn sweep(&mut self, now: Instant) {
        let mut earliest: Option<Instant> = None;
        let waiting = std::mem::take(&mut self.backlog);
        for submission in waiting {
            let deadline = submission.waiter.deadline;
            if submission.waiter.is_over(now) {
                submission.waiter.give_up();
            } else {
                earliest = Some(earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                self.backlog.push_back(submission);
            }
        }
        if let Link::Open(connection) = &mut self.link {
            for mut waiter in connection.take_ended(now) {
                waiter.attempts.missed(Miss::Unknown, &mut self.budget);
                waiter.give_up();
            }
            earliest = earliest.into_iter().chain(connection.earliest_deadline()).min();
        }
        self.swept_at = now;
        let (soonest, latest) = (now + SWEEP_INTERVAL, now + GONE_INTERVAL);
        self.next_sweep = earliest.map(|earliest| earliest.min(latest).max(soonest));
    }

    /// Begins to open a stream to the node that should lead the shard.
    fn open(&mut self, now: Instant) {
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
    fn open_directly(&mut self, now: Instant) {
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

    fn opened(&mut self, connection: Box<Connection>) {
        let now = Instant::now();
        self.leader.lock().confirmed(connection.route(), now);
        self.direct_at = now + DIRECT_INTERVAL;
        self.link = Link::Open(connection);
    }

    /// Moves to the stream to the leader itself, or learns from its failure where to try next.
    fn direct_ended(&mut self, opened: Result<Box<Connection>, NotOpened>) {
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
    fn lost(&mut self, node: NodeId, status: &Status, asked_at: Instant) {
        let now = Instant::now();
        tracing::debug!(
            shard = %self.shard, %node, code = ?status.code(), message = status.message(),
            "no stream",
        );
        if let Some(mismatch) = Mismatch::of(status) {
            self.context.directory.met(node, &mismatch);
        }
        let named = self.leader.lock().failed(node, status, asked_at, now);
        if leader::says_diverged(status) {
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
    fn broken(&mut self, status: &Status) {
        if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Idle) {
            let node = connection.node();
            self.take_back(*connection);
            // A leader replies steadily. One that has stopped counts as silent, whatever reads hear.
            self.lost(node, status, Instant::now());
        }
    }

    fn take_back(&mut self, connection: Connection) {
        for mut submission in connection.close().into_iter().rev() {
            submission.waiter.attempts.missed(Miss::Unknown, &mut self.budget);
            self.backlog.push_front(submission);
        }
    }

    fn pause(&mut self, leader_named: bool, now: Instant) {
        self.misses = self.misses.saturating_add(1);
        self.direct = None;
        self.link = Link::Pausing(now + retry::random_pause(self.misses, leader_named));
    }

    fn received(&mut self, replies: ReplyBatch) {
        let Link::Open(connection) = &mut self.link else { return };
        let node = connection.node();
        let Some(replies) = connection.replies(replies) else {
            return self.broken(&Status::internal("replies do not match their batch"));
        };
        self.leader.lock().heard(node, Instant::now());
        let (mut again, mut not_leader, mut slow_down) = (Vec::new(), None, false);
        for (submission, reply) in replies {
            let Submission { command, mut deadline_micros, mut waiter } = submission;
            let miss = match reply.reply {
                Some(reply::Reply::Outcome(outcome)) => {
                    self.misses = 0;
                    self.budget.earn();
                    answer(waiter, outcome);
                    continue;
                }
                Some(reply::Reply::NotProposed(not_proposed)) => {
                    let miss = miss_of(&not_proposed);
                    if miss == Miss::NotLeader {
                        not_leader = Some(NodeId::new(not_proposed.leader_node_id).ok());
                    }
                    miss
                }
                Some(reply::Reply::Unknown(_)) | None => Miss::Unknown,
            };
            if miss == Miss::Expired {
                // It is not expired, or it would not be here: the clocks of node and router differ,
                // and the hint does harm.
                deadline_micros = 0;
            }
            slow_down |= !matches!(miss, Miss::Expired | Miss::NeedsLog);
            match waiter.attempts.missed(miss, &mut self.budget) {
                Some(unanswered) => waiter.answer(Answer::Unanswered(unanswered)),
                None => again.push(Submission { command, deadline_micros, waiter }),
            }
        }
        for submission in again.into_iter().rev() {
            self.backlog.push_front(submission);
        }
        let now = Instant::now();
        if let Some(named) = not_leader {
            if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Idle) {
                self.take_back(*connection);
            }
            let named = self.leader.lock().refused(node, named, now);
            self.pause(named, now);
        } else if slow_down {
            self.misses = self.misses.saturating_add(1);
            self.resume_at = now + retry::random_pause(self.misses, false);
        }
    }
}

/// Hands an outcome to who waits for it, or says where the shard is if the command has to be routed anew.
fn answer(waiter: Waiter, outcome: Outcome) {
    let rerouted = match &outcome.outcome {
        Some(outcome::Outcome::Refusal(refusal)) => retry::reroutes(refusal),
        Some(
            outcome::Outcome::CampaignCreated(_)
            | outcome::Outcome::CampaignChanged(_)
            | outcome::Outcome::CouponIssued(_),
        )
        | None => None,
    };
    let attempts = waiter.attempts;
    waiter.answer(match rerouted {
        Some(shard_epoch) => Answer::Reroute { shard_epoch, attempts },
        None => Answer::Outcome(outcome),
    });
}

fn miss_of(not_proposed: &NotProposed) -> Miss {
    match not_proposed.reason() {
        NotProposedReason::NotLeader | NotProposedReason::Unspecified => Miss::NotLeader,
        NotProposedReason::Overloaded => Miss::Overloaded,
        NotProposedReason::Expired => Miss::Expired,
        NotProposedReason::NeedsLog => Miss::NeedsLog,
    }
}

#[cfg(test)]
mod tests;
