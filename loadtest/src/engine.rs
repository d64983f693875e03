//! The load itself: one loop that sends what is due, records what comes back, and owns all it needs.
//!
//! Every call is a task, and the loop waits for four things: the time of the next call, the end of
//! a call, a tick of the progress, and the word to stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coupon_checker::Operation;
use coupon_client::{Channels, RetryPolicy, SharedIssueStreams};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::{AbortHandle, JoinSet};

use crate::campaigns;
use crate::client::{CallPolicy, CallResult, Caller, IssueCall, PAUSE_MAX, PAUSE_MIN};
use crate::clock::{Clock, nanos};
use crate::demand::Demand;
use crate::error::LoadError;
use crate::observer::{Observed, Observer};
use crate::options::{Options, Pattern, Target};
use crate::pacer::Pacer;
use crate::progress::Progress;
use crate::recorder::{LATE_AFTER, Recorder};
use crate::schedule::{Arrivals, stampede};

/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How many calls are sent before the loop looks for answers again, so that a stampede does not
/// leave the first answers lying until the last call is sent.
const SENDS_AT_ONCE_MAX: usize = 64;

/// When calls are due, on the clock of the recording.
enum Source {
    /// At an even rate from `began` on.
    Even { began: u64, arrivals: Arrivals },
    /// As soon as there are fewer under way than this.
    Keep(usize),
    /// All at the start, more or less.
    Crowd(std::iter::Peekable<Box<dyn Iterator<Item = u64> + Send>>),
}

/// A task that is over.
enum Done {
    Issue(CallResult),
    Batch(Vec<CallResult>),
    Read(usize, Operation),
    Created(usize, Result<crate::recorder::RecordedCampaign, LoadError>),
}

/// What the load needs.
pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) channels: Channels,
    pub(crate) pacer: Pacer,
    pub(crate) progress: Progress,
    pub(crate) recorder: Recorder,
    pub(crate) demand: Demand,
    /// When the campaigns of a stampede start.
    pub(crate) starts: u64,
    pub(crate) observer: Option<Observer>,
}

/// How the sending went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sending {
    /// How much of the time from the first call that was due to the last one the thread was on a
    /// processor, 0 to 1.
    pub(crate) busy: Option<f64>,
    /// How many coupons should have been asked for and never were.
    pub(crate) unsent: u64,
    /// How many calls were under way at most.
    pub(crate) in_flight_top: usize,
    /// Whether calls had to wait since too many were under way.
    pub(crate) was_bounded: bool,
    /// Whether it was told to stop before its time.
    pub(crate) was_stopped: bool,
}

/// The state of the loop.
struct Run {
    engine: Engine,
    policy: Arc<CallPolicy>,
    /// The streams that requests go over, if they do.
    streams: Option<SharedIssueStreams>,
    source: Source,
    reads: Arrivals,
    began: u64,
    ends: Option<u64>,
    tasks: JoinSet<Done>,
    in_flight: usize,
    next_read: usize,
    /// The creation of a campaign that follows one of the given number.
    creations: Vec<(usize, AbortHandle)>,
    created: u32,
    is_sending: bool,
    sending: Sending,
    /// When the first call was sent, and how long the thread had been on a processor by then.
    first: Option<(u64, Duration)>,
}

impl Engine {
    /// Sends the load until its time is over or `stop` ends, and waits for the calls under way.
    pub(crate) async fn run(
        self,
        stop: impl Future<Output = ()>,
    ) -> Result<(Recorder, Sending), LoadError> {
        let mut run = Run::begin(self);
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut stop = std::pin::pin!(stop);
        let mut pacer = std::mem::replace(&mut run.engine.pacer, Pacer::Runtime);
        loop {
            run.send();
            if !run.is_sending && run.in_flight == 0 {
                break;
            }
            let due = run.due().map(|due| run.engine.clock.instant(due));
            tokio::select! {
                biased;
                () = &mut stop, if !run.sending.was_stopped => run.stop(),
                Some(done) = run.tasks.join_next() => run.take(done)?,
                woken = pacer.until(due) => woken.map_err(LoadError::Timer)?,
                _ = ticks.tick() => run.show(),
            }
            while let Some(done) = run.tasks.try_join_next() {
                run.take(done)?;
            }
        }
        Ok(run.end().await)
    }
}

impl Run {
    fn begin(engine: Engine) -> Self {
        let options = &engine.options;
        let began = engine.clock.now();
        let source = match options.pattern {
            Pattern::Open { rate } => {
                let arrivals = Arrivals::new(rate, options.batch.unwrap_or(1), options.duration);
                Source::Even { began, arrivals }
            }
            Pattern::Closed { concurrency } => {
                Source::Keep(usize::try_from(concurrency).unwrap_or(usize::MAX))
            }
            Pattern::Stampede { callers, .. } => {
                let times: Box<dyn Iterator<Item = u64> + Send> =
                    Box::new(stampede(callers, engine.starts));
                Source::Crowd(times.peekable())
            }
        };
        let is_stampede = matches!(source, Source::Crowd(_));
        let retry = RetryPolicy {
            attempt_timeout: options.attempt_timeout,
            give_up_after: options.give_up_after,
            backoff_min: PAUSE_MIN,
            backoff_max: PAUSE_MAX,
        };
        let policy = CallPolicy { retry, awaits_start: is_stampede, is_stopping: false.into() };
        let duration = options.duration.filter(|_| !is_stampede);
        let ends = duration.map(|time| began.saturating_add(nanos(time)));
        let created = match options.target {
            Target::New { count, .. } => count,
            Target::Existing { .. } => 0,
        };
        Self {
            policy: Arc::new(policy),
            streams: engine.options.is_streamed.then(SharedIssueStreams::default),
            source,
            reads: Arrivals::new(options.reads_per_second, 1, None),
            began,
            ends,
            tasks: JoinSet::new(),
            in_flight: 0,
            next_read: 0,
            creations: Vec::new(),
            created,
            is_sending: true,
            sending: Sending::default(),
            first: None,
            engine,
        }
    }

    /// When the next call is due; `None` if that depends on answers.
    fn next_call(&mut self) -> Option<u64> {
        match &mut self.source {
            Source::Even { began, arrivals } => Some(*began + arrivals.peek()?),
            Source::Keep(concurrency) => (self.in_flight < *concurrency).then_some(self.began),
            Source::Crowd(times) => times.peek().copied(),
        }
    }

    /// When there is something to do.
    fn due(&mut self) -> Option<u64> {
        if !self.is_sending {
            return None;
        }
        let has_room = self.in_flight < self.engine.options.in_flight_max;
        let call = if has_room { self.next_call() } else { None };
        let read = self.reads.peek().map(|time| self.began + time);
        [call, read, self.ends].into_iter().flatten().min()
    }

    /// Sends what is due, and notices when there is nothing more to come.
    fn send(&mut self) {
        let now = self.engine.clock.now();
        if !self.is_sending {
            return;
        }
        if self.ends.is_some_and(|ends| now >= ends) {
            // What is due by now and was held back by the loop itself still goes out below; what
            // the bound held back does not.
            if matches!(self.source, Source::Even { .. }) {
                self.send_calls(now, usize::MAX);
            }
            self.stop_sending(now);
            return;
        }
        self.send_calls(now, SENDS_AT_ONCE_MAX);
        while self.reads.peek().is_some_and(|time| self.began + time <= now) {
            self.reads.next();
            self.read();
        }
        // Every caller of the crowd has called.
        if matches!(self.source, Source::Crowd(_)) && self.next_call().is_none() {
            self.stop_sending(now);
        }
    }

    fn send_calls(&mut self, now: u64, count_max: usize) {
        for _ in 0..count_max {
            let Some(due) = self.next_call().filter(|time| *time <= now) else { return };
            if self.in_flight >= self.engine.options.in_flight_max {
                self.sending.was_bounded = true;
                return;
            }
            let intended = match &mut self.source {
                Source::Even { arrivals, .. } => {
                    arrivals.next();
                    due
                }
                Source::Crowd(times) => {
                    times.next();
                    due
                }
                // It is due since another call ended, which was just now.
                Source::Keep(_) => now,
            };
            self.call(intended);
        }
    }

    fn stop_sending(&mut self, now: u64) {
        self.is_sending = false;
        if let Some((first, busy_before)) = self.first {
            let lasted = Duration::from_nanos(self.engine.clock.now() - first).as_secs_f64();
            let busy = thread_time().saturating_sub(busy_before).as_secs_f64();
            self.sending.busy = (lasted > 0.0).then(|| busy / lasted);
        }
        if let Source::Even { began, arrivals } = &mut self.source {
            let left = if self.sending.was_stopped {
                // What is not late yet would have been sent.
                let due = now.saturating_sub(*began + nanos(LATE_AFTER));
                let unsent = arrivals.by_ref().take_while(|time| *time < due).count();
                u64::try_from(unsent).unwrap_or(u64::MAX)
            } else {
                arrivals.left().unwrap_or(0)
            };
            let batch = u64::from(self.engine.options.batch.unwrap_or(1));
            self.sending.unsent = left * batch;
        }
        self.engine.recorder.end_sending(now);
    }

    /// Nothing more is sent, not even again.
    fn stop(&mut self) {
        self.sending.was_stopped = true;
        self.policy.is_stopping.store(true, Ordering::Relaxed);
        if self.is_sending {
            self.stop_sending(self.engine.clock.now());
        }
    }

    fn caller(&mut self) -> Caller {
        self.engine.channels.advance();
        Caller {
            channels: self.engine.channels.clone(),
            streams: self.streams.clone(),
            clock: self.engine.clock,
            policy: Arc::clone(&self.policy),
        }
    }

    fn call(&mut self, intended: u64) {
        let (caller, starts) = (self.caller(), self.engine.starts);
        let now = self.engine.clock.now();
        self.first.get_or_insert_with(|| (now, thread_time()));
        match self.engine.options.batch {
            None => {
                let call = self.engine.demand.next();
                self.engine.recorder.figures.series.sent(now, 1);
                self.tasks
                    .spawn(async move { Done::Issue(caller.issue(call, intended, starts).await) });
            }
            Some(size) => {
                let calls: Vec<IssueCall> = (0..size).map(|_| self.engine.demand.next()).collect();
                self.engine.recorder.figures.series.sent(now, size);
                self.tasks.spawn(async move {
                    Done::Batch(caller.issue_batch(calls, intended, starts).await)
                });
            }
        }
        self.in_flight += 1;
        self.sending.in_flight_top = self.sending.in_flight_top.max(self.in_flight);
    }

    fn read(&mut self) {
        let caller = self.caller();
        let campaigns = &self.engine.demand.campaigns;
        self.next_read = (self.next_read + 1) % campaigns.len();
        let (campaign, id) = campaigns[self.next_read].clone();
        self.tasks.spawn(async move { Done::Read(campaign, caller.count(&id).await) });
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), LoadError> {
        let done = match done {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        match done {
            Done::Issue(result) => {
                self.in_flight -= 1;
                self.finished(result);
            }
            Done::Batch(all) => {
                self.in_flight -= 1;
                for result in all {
                    self.finished(result);
                }
            }
            Done::Read(campaign, operation) => self.engine.recorder.read(campaign, operation),
            Done::Created(after, created) => {
                self.creations.retain(|(number, _)| *number != after);
                self.follow(after, created?);
            }
        }
        Ok(())
    }

    fn finished(&mut self, result: CallResult) {
        let CallResult { campaign, attempts, sent, connection, .. } = result;
        // Connections go to all routers in turn.
        let router = connection % self.engine.options.routers.len().max(1);
        if let Some(observer) = &mut self.engine.observer {
            let campaign_id = &self.engine.recorder.campaigns[campaign].id;
            for operation in &result.operations {
                observer(Observed { campaign_id, router, attempts, sent, operation });
            }
        }
        if self.engine.recorder.finished(result) {
            self.renew(campaign);
        }
    }

    /// Begins to create the campaign that follows a sold-out one, unless that was done.
    fn renew(&mut self, after: usize) {
        let is_wanted = matches!(self.engine.options.target, Target::New { is_renewed: true, .. });
        let is_under_way = self.creations.iter().any(|(number, _)| *number == after);
        if !is_wanted
            || !self.is_sending
            || is_under_way
            || self.engine.demand.place(after).is_none()
        {
            return;
        }
        self.created += 1;
        let (number, clock) = (self.created, self.engine.clock);
        let (channels, options) = (self.engine.channels.clone(), self.engine.options.clone());
        let creation = self.tasks.spawn(async move {
            let client = campaigns::client(&channels, &options);
            let created = campaigns::create(&client, &options, &clock, number, None).await;
            Done::Created(after, created)
        });
        self.creations.push((after, creation));
    }

    /// Puts a new campaign in the place of the one before it.
    fn follow(&mut self, after: usize, created: crate::recorder::RecordedCampaign) {
        let number = self.engine.recorder.campaigns.len();
        let id: Arc<str> = created.id.as_str().into();
        self.engine.recorder.campaigns.push(created);
        if let Some(place) = self.engine.demand.place(after) {
            self.engine.demand.campaigns[place] = (number, id);
        }
    }

    fn show(&mut self) {
        let now = self.engine.clock.now();
        let campaigns = self.engine.recorder.campaigns.len();
        self.engine.progress.show(&self.engine.recorder.figures, now, self.in_flight, campaigns);
    }

    async fn end(mut self) -> (Recorder, Sending) {
        self.engine.recorder.end();
        self.show();
        self.engine.progress.finish();
        // Reads and creations that are still under way are of no use any more.
        self.tasks.shutdown().await;
        (self.engine.recorder, self.sending)
    }
}

/// How long this thread was on a processor.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
