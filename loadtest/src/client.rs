//! One call, from its first attempt to its final answer.
//!
//! A request without an answer is sent again with the same id, as the API asks for. One that never
//! gets an answer is recorded as unknown, not as failed; one that only ever was answered that nothing
//! was done, as refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coupon_checker::{Call, Operation, Outcome};
use coupon_client::v1::campaign_service_client::CampaignServiceClient;
use coupon_client::v1::coupon_service_client::CouponServiceClient;
use coupon_client::{
    Backoff, CallError, Channels, ItemAnswer, Meaning, Reason, RetryPolicy, SharedIssueStreams,
    item_answers, v1,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::answer::{AnswerName, NO_ANSWER, NOT_STARTED, of_error, of_response};
use crate::clock::Clock;

/// Pause before the first repetition.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Longest pause, so that a system that serves again is noticed soon.
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(320);

/// Longest pause of callers that came before the start.
const ASK_AGAIN_MAX: Duration = Duration::from_millis(100);

/// Shortest pause of callers that came before the start: clocks differ, and errors show in the last moment.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(5);

/// How long callers keep trying.
#[derive(Debug)]
pub(crate) struct CallPolicy {
    /// How long a call without an answer is repeated.
    pub(crate) retry: RetryPolicy,
    /// Whether a call that is answered NOT_STARTED is repeated.
    pub(crate) awaits_start: bool,
    /// Set when nothing is to be repeated any more.
    pub(crate) is_stopping: AtomicBool,
}

/// A call for a coupon.
#[derive(Clone, Debug)]
pub(crate) struct IssueCall {
    /// The number of the campaign.
    pub(crate) campaign: usize,
    /// Its id.
    pub(crate) campaign_id: Arc<str>,
    /// Stays the same for all attempts.
    pub(crate) request_id: Uuid,
    /// The recipient.
    pub(crate) recipient: Box<str>,
}

/// The result of an [`IssueCall`].
#[derive(Debug)]
pub(crate) struct CallResult {
    /// The number of the campaign.
    pub(crate) campaign: usize,
    /// When it should have been sent.
    pub(crate) intended: u64,
    /// When it was sent for the first time.
    pub(crate) sent: u64,
    /// When its final answer was received, or it was given up.
    pub(crate) finished: u64,
    /// For the checker; more than one if it was asked before the start.
    pub(crate) operations: Vec<Operation>,
    /// The name of its final answer.
    pub(crate) answer: AnswerName,
    /// Whether it was given up without an answer.
    pub(crate) is_unknown: bool,
    /// The number of the connection that the last attempt went over.
    pub(crate) connection: usize,
    /// How many attempts there were.
    pub(crate) attempts: u32,
    /// How many of them were answered that the campaign has not started.
    pub(crate) not_started: u32,
    /// The names of the errors after which it was repeated.
    pub(crate) again: Vec<AnswerName>,
}

/// Makes calls, each attempt over the connection after the one before.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) channels: Channels,
    /// What requests go over; `None`: each is a call of its own.
    pub(crate) streams: Option<SharedIssueStreams>,
    pub(crate) clock: Clock,
    pub(crate) policy: Arc<CallPolicy>,
}

/// An [`IssueCall`] under way.
struct CallState {
    call: IssueCall,
    intended: u64,
    sent: u64,
    /// When that part of the call began which has no definite answer yet.
    invoked: u64,
    /// Whether an attempt may have had an effect that is not known.
    may_have_happened: bool,
    /// Whether the last attempt was answered that the campaign has not started.
    is_too_early: bool,
    connection: usize,
    attempts: u32,
    not_started: u32,
    operations: Vec<Operation>,
    again: Vec<AnswerName>,
    backoff: Backoff,
}

/// What an attempt leads to.
enum Step {
    Done(CallResult),
    Again(Duration),
}

impl CallState {
    fn begin(call: IssueCall, intended: u64, caller: &Caller) -> Self {
        let now = caller.clock.now();
        Self {
            call,
            intended,
            sent: now,
            invoked: now,
            may_have_happened: false,
            is_too_early: false,
            connection: 0,
            attempts: 0,
            not_started: 0,
            operations: Vec::with_capacity(1),
            again: Vec::new(),
            backoff: Backoff::new(caller.policy.retry),
        }
    }

    fn request(&self) -> v1::IssueCouponRequest {
        v1::IssueCouponRequest {
            campaign_id: self.call.campaign_id.as_ref().to_owned(),
            recipient: self.call.recipient.as_ref().to_owned(),
            request_id: self.call.request_id.to_string(),
            ..v1::IssueCouponRequest::default()
        }
    }

    /// Notes that an attempt begins. After a definite answer it begins a new operation, in which the
    /// coupon must be issued if it is issued at all: no coupon that was seen before may follow it.
    fn resume(&mut self, caller: &Caller) {
        self.connection = caller.channels.turn();
        if !self.may_have_happened && self.attempts > 0 {
            self.invoked = caller.clock.now();
        }
    }

    /// Takes the answer to an attempt.
    fn take(&mut self, answer: ItemAnswer, caller: &Caller) -> Step {
        let now = caller.clock.now();
        self.attempts += 1;
        match answer {
            Ok(response) => {
                let (outcome, name) = of_response(response);
                Step::Done(self.finish(outcome, name, now))
            }
            Err(error) => self.take_error(&error, caller, now),
        }
    }

    fn take_error(&mut self, error: &CallError, caller: &Caller, now: u64) -> Step {
        match error.meaning() {
            Meaning::NotStarted { starts_in, .. } => {
                self.not_started += 1;
                self.is_too_early = true;
                if !caller.policy.awaits_start || caller.is_stopping() {
                    return Step::Done(self.finish(self.unless_open(error), error.name(), now));
                }
                if !self.may_have_happened {
                    self.record(Outcome::NotStarted, now);
                }
                let pause = starts_in.unwrap_or(ASK_AGAIN_MAX);
                Step::Again(pause.clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX))
            }
            Meaning::RetryUnchanged | Meaning::RetryAmbiguous => {
                self.may_have_happened |= error.may_have_happened();
                self.is_too_early = false;
                self.again.push(error.name());
                // A delay is heeded only if there is too much to do: how soon a shard serves again is to be
                // measured.
                let is_overload = error.reason() == Some(Reason::Overloaded);
                let retry_after = error.retry_after().filter(|_| is_overload);
                Step::Again(self.backoff.pause(retry_after, rand::random()))
            }
            Meaning::Refused | Meaning::Unknown => {
                Step::Done(self.finish(self.unless_open(error), error.name(), now))
            }
        }
    }

    /// The outcome of a call that ends with an error: unknown, if an earlier attempt may still have an
    /// effect.
    fn unless_open(&self, error: &CallError) -> Outcome {
        // Quotas are neither returned nor raised during a load test, and no recipient is freed of a limit.
        let stays = [Some(Reason::SoldOut), Some(Reason::RecipientLimitReached)];
        let is_settled = error.settles_earlier_attempts() || stays.contains(&error.reason());
        let is_open = self.may_have_happened && !is_settled;
        if is_open { Outcome::Unknown } else { of_error(error) }
    }

    fn record(&mut self, outcome: Outcome, returned: u64) {
        let request_id = self.call.request_id.as_u128();
        let recipient = self.call.recipient.clone();
        let call = Call::Issue { request_id, recipient };
        self.operations.push(Operation { invoked: self.invoked, returned, call, outcome });
    }

    fn finish(&mut self, outcome: Outcome, answer: AnswerName, now: u64) -> CallResult {
        let is_unknown = outcome == Outcome::Unknown;
        self.record(outcome, now);
        CallResult {
            campaign: self.call.campaign,
            intended: self.intended,
            sent: self.sent,
            finished: now,
            operations: std::mem::take(&mut self.operations),
            answer,
            is_unknown,
            connection: self.connection,
            attempts: self.attempts,
            not_started: self.not_started,
            again: std::mem::take(&mut self.again),
        }
    }

    fn give_up(&mut self, now: u64) -> CallResult {
        if self.is_too_early && !self.may_have_happened {
            self.operations.pop();
            return self.finish(Outcome::NotStarted, NOT_STARTED.into(), now);
        }
        let outcome = if self.may_have_happened { Outcome::Unknown } else { Outcome::Refused };
        let answer = self.again.last().cloned().unwrap_or(NO_ANSWER.into());
        self.finish(outcome, answer, now)
    }
}

impl Caller {
    fn is_stopping(&self) -> bool {
        self.policy.is_stopping.load(Ordering::Relaxed)
    }

    /// A request with the deadline of an attempt of a call that ends at `end`.
    fn request<T>(&self, message: T, end: Instant) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.policy.retry.timeout(left(end)));
        request
    }

    /// When a call is given up that should be sent at `intended`; a caller that waits for a start does so
    /// from `patient_until` on.
    fn end(&self, intended: u64, patient_until: u64) -> Instant {
        let from = self.clock.now().max(intended).max(patient_until);
        self.clock.instant(from) + self.policy.retry.give_up_after
    }

    /// Waits before another attempt, which goes over the next connection. Returns false if there is
    /// none.
    async fn pause(&mut self, pause: Duration, end: Instant) -> bool {
        if self.is_stopping() || !self.policy.retry.has_time(left(end), pause) {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.channels.advance();
        !self.is_stopping()
    }

    /// Asks for one coupon. `starts` is when the campaign starts.
    pub(crate) async fn issue(mut self, call: IssueCall, intended: u64, starts: u64) -> CallResult {
        let end = self.end(intended, starts);
        let mut state = CallState::begin(call, intended, &self);
        loop {
            state.resume(&self);
            let answer = self.attempt(state.request(), end).await;
            let pause = match state.take(answer, &self) {
                Step::Done(result) => return result,
                Step::Again(pause) => pause,
            };
            if !self.pause(pause, end).await {
                return state.give_up(self.clock.now());
            }
        }
    }

    /// Asks for a coupon once.
    async fn attempt(&self, request: v1::IssueCouponRequest, end: Instant) -> ItemAnswer {
        let channel = self.channels.current();
        let Some(streams) = &self.streams else {
            let mut client = CouponServiceClient::new(channel);
            let answer = client.issue_coupon(self.request(request, end)).await;
            return answer.map(Response::into_inner).map_err(CallError::from);
        };
        let stream = streams.over(self.channels.turn(), channel);
        let patience = self.policy.retry.timeout(left(end));
        let answer = tokio::time::timeout(patience, stream.issue(request, patience)).await;
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time").into()))
    }

    /// Asks for several coupons in one call. What has no answer is asked for again, in a call
    /// without the rest.
    pub(crate) async fn issue_batch(
        mut self,
        calls: Vec<IssueCall>,
        intended: u64,
        starts: u64,
    ) -> Vec<CallResult> {
        let end = self.end(intended, starts);
        let mut open: Vec<CallState> =
            calls.into_iter().map(|call| CallState::begin(call, intended, &self)).collect();
        let mut done = Vec::with_capacity(open.len());
        loop {
            for state in &mut open {
                state.resume(&self);
            }
            let requests = open.iter().map(CallState::request).collect();
            let message = v1::BatchIssueCouponsRequest { requests };
            let mut client = CouponServiceClient::new(self.channels.current());
            let answer = client.batch_issue_coupons(self.request(message, end)).await;
            let mut answers = item_answers(answer.map(Response::into_inner));
            let mut pause_max = Duration::ZERO;
            open.retain_mut(|state| {
                let answer = answers.next().expect("there is one for each request");
                match state.take(answer, &self) {
                    Step::Done(result) => {
                        done.push(result);
                        false
                    }
                    Step::Again(pause) => {
                        pause_max = pause_max.max(pause);
                        true
                    }
                }
            });
            drop(answers);
            if open.is_empty() {
                return done;
            }
            if !self.pause(pause_max, end).await {
                let now = self.clock.now();
                done.extend(open.iter_mut().map(|state| state.give_up(now)));
                return done;
            }
        }
    }

    /// Reads a campaign's counters, once.
    pub(crate) async fn count(self, campaign_id: &str) -> Operation {
        let mut client = CampaignServiceClient::new(self.channels.current());
        let message = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        let end = Instant::now() + self.policy.retry.attempt_timeout;
        let invoked = self.clock.now();
        let answer = client.get_campaign(self.request(message, end)).await;
        let returned = self.clock.now();
        counted(answer.ok().and_then(|answer| answer.into_inner().campaign), invoked, returned)
    }
}

/// A read of a campaign's counters; `None` was no answer.
pub(crate) fn counted(campaign: Option<v1::Campaign>, invoked: u64, returned: u64) -> Operation {
    let issued = campaign.and_then(|campaign| u64::try_from(campaign.issued).ok());
    let outcome = issued.map_or(Outcome::Unknown, |issued| Outcome::Counted { issued });
    Operation { invoked, returned, call: Call::Get, outcome }
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}
