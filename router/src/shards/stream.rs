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

mod inquiry;
mod link;
mod replies;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::ShardId;
use coupon_proto::internal::ReplyBatch;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use self::inquiry::{Answered, Inquiry};
use self::link::{Link, NotOpened, Opening};
use crate::route::leader::LeaderGuess;
use crate::route::retry::{Miss, RetryBudget, Timing};
use crate::shards::connection::Connection;
use crate::shards::directory::Directory;
use crate::shards::pool::Pool;
use crate::shards::submission::Submission;

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

/// What wakes the task.
enum Event {
    Arrived,
    QueueClosed,
    Opened(Result<Box<Connection>, NotOpened>),
    Direct(Result<Box<Connection>, NotOpened>),
    Inquired(Answered),
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
    /// What is asked about a leader that is silent.
    inquiry: Option<Inquiry>,
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
            inquiry: None,
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
                Event::Inquired(answered) => self.inquired(answered),
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
        let Self { queue, arrived, link, direct, inquiry, timer, .. } = self;
        let inquiry_event = async {
            match inquiry {
                Some(inquiry) => Event::Inquired(inquiry.answered().await),
                None => std::future::pending().await,
            }
        };
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
                    event = inquiry_event => event,
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
                let is_closed = connection.is_closed();
                let silence = connection.silent_since().map(|at| self.silence_due(at, is_closed));
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
                let (silent, is_closed) = (connection.silent_since(), connection.is_closed());
                self.watch_silence(silent, is_closed, now);
                self.send(now);
            }
        }
    }

    /// Sends what waits, and looks for the leader itself behind a detour.
    fn send(&mut self, now: Instant) {
        let Link::Open(connection) = &mut self.link else { return };
        if self.resume_at <= now {
            while connection.send(&mut self.backlog, now) {}
        }
        let detour = connection.route().forward;
        if detour && self.direct.is_none() && self.direct_at <= now {
            self.open_directly(now);
        }
    }

    /// Asks about a leader that is silent, and gives its stream up if nothing speaks for it.
    fn watch_silence(&mut self, silent_since: Option<Instant>, is_closed: bool, now: Instant) {
        let reply = self.context.timing.reply;
        let Some(since) = silent_since.filter(|since| *since + reply / 2 <= now) else {
            self.inquiry = None;
            return;
        };
        let over_at = match &self.inquiry {
            // A stream that takes nothing any more is of no use, whoever leads.
            Some(inquiry) if !is_closed => inquiry.silence.over_at(since, reply),
            Some(_) | None => since + reply,
        };
        if over_at <= now {
            self.broken(&Status::deadline_exceeded("no replies in time"));
        } else if self.inquiry.is_none() {
            self.inquire();
        }
    }

    /// When something is to be done about a silence: the leader is asked about, or given up.
    fn silence_due(&self, since: Instant, is_closed: bool) -> Instant {
        let reply = self.context.timing.reply;
        match &self.inquiry {
            Some(inquiry) if !is_closed => inquiry.silence.over_at(since, reply),
            Some(_) => since + reply,
            None => since + reply / 2,
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
}

#[cfg(test)]
mod tests;
