//! One call, from its first attempt to its final answer.
//!
//! A request without an answer is sent again with the same id, as the API asks for. One that never
//! gets an answer is recorded as unknown, not as failed; one that only ever was answered that nothing
//! was done, as refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coupon_checker::{Call, Operation, Outcome};
use coupon_proto::v1;
use coupon_proto::v1::batch_issue_coupons_result::Result as ItemResult;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tokio::time::Instant;
use tonic::Request;
use uuid::Uuid;

use crate::answer::{Answer, NO_ANSWER, NOT_STARTED, Reason, of_item, of_response, of_status};
use crate::channels::Channels;
use crate::clock::Clock;

/// The pause before the first repetition; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause, so that a system that serves again is noticed soon.
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// How often those who came before the start ask again, at most.
const ASK_AGAIN_MAX: Duration = Duration::from_millis(100);

/// How often they ask again, at least: clocks differ, and the last moment is where errors show.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(5);

/// How long callers keep trying.
#[derive(Debug)]
pub(crate) struct RetryPolicy {
    /// How long one attempt may take.
    pub(crate) attempt_timeout: Duration,
    /// How long a call without an answer is repeated.
    pub(crate) give_up_after: Duration,
    /// Whether NOT_STARTED is no answer to be content with.
    pub(crate) awaits_start: bool,
    /// Set when nothing is to be repeated any more.
    pub(crate) is_stopping: AtomicBool,
}

/// A coupon that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct IssueCall {
    /// The number of the campaign.
    pub(crate) campaign: usize,
    /// Its id.
    pub(crate) campaign_id: Arc<str>,
    /// Stays the same for all attempts.
    pub(crate) request_id: Uuid,
    /// Who is to get it.
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
    /// What it was answered.
    pub(crate) reason: Reason,
    /// Whether it was given up without an answer.
    pub(crate) is_unknown: bool,
    /// The number of the connection that the last attempt went over.
    pub(crate) connection: usize,
    /// How many attempts there were.
    pub(crate) attempts: u32,
    /// How many of them were answered that the campaign has not started.
    pub(crate) not_started: u32,
    /// What those were answered after which it was sent again for want of an answer.
    pub(crate) again: Vec<Reason>,
}

/// Makes calls, each attempt over the connection after the one before.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) channels: Channels,
    pub(crate) clock: Clock,
    pub(crate) retry_policy: Arc<RetryPolicy>,
}

/// An [`IssueCall`] under way.
struct CallState {
    want: IssueCall,
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
    again: Vec<Reason>,
}

/// What an attempt leads to.
enum Step {
    Done(CallResult),
    Again(Duration),
}

impl CallState {
    fn begin(want: IssueCall, now: u64) -> Self {
        Self {
            want,
            sent: now,
            invoked: now,
            may_have_happened: false,
            is_too_early: false,
            connection: 0,
            attempts: 0,
            not_started: 0,
            operations: Vec::with_capacity(1),
            again: Vec::new(),
        }
    }

    fn request(&self) -> v1::IssueCouponRequest {
        v1::IssueCouponRequest {
            campaign_id: self.want.campaign_id.as_ref().to_owned(),
            recipient: self.want.recipient.as_ref().to_owned(),
            request_id: self.want.request_id.to_string(),
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
    fn take(&mut self, answer: Answer, intended: u64, caller: &Caller) -> Step {
        let now = caller.clock.now();
        self.attempts += 1;
        match answer {
            Answer::Final { outcome, reason } => {
                // Of an earlier attempt, some refusals say nothing.
                let is_passing = matches!(outcome, Outcome::Refused);
                let outcome =
                    if is_passing && self.may_have_happened { Outcome::Unknown } else { outcome };
                Step::Done(self.finish(outcome, reason, intended, now))
            }
            Answer::NotStarted { starts_in } => {
                self.not_started += 1;
                self.is_too_early = true;
                if !caller.retry_policy.awaits_start || caller.is_stopping() {
                    let outcome = self.not_started_or_unknown();
                    return Step::Done(self.finish(outcome, NOT_STARTED.into(), intended, now));
                }
                if !self.may_have_happened {
                    self.record(Outcome::NotStarted, now);
                }
                let pause = starts_in.unwrap_or(ASK_AGAIN_MAX);
                Step::Again(pause.clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX))
            }
            Answer::Again { reason, pause, may_have_happened } => {
                self.may_have_happened |= may_have_happened;
                self.is_too_early = false;
                self.again.push(reason);
                let doublings = self.attempts.saturating_sub(1).min(8);
                let usual = (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX);
                Step::Again(jittered(pause.unwrap_or(usual)))
            }
        }
    }

    fn not_started_or_unknown(&self) -> Outcome {
        if self.may_have_happened { Outcome::Unknown } else { Outcome::NotStarted }
    }

    fn record(&mut self, outcome: Outcome, returned: u64) {
        let request_id = self.want.request_id.as_u128();
        let recipient = self.want.recipient.clone();
        let call = Call::Issue { request_id, recipient };
        self.operations.push(Operation { invoked: self.invoked, returned, call, outcome });
    }

    fn finish(&mut self, outcome: Outcome, reason: Reason, intended: u64, now: u64) -> CallResult {
        let is_unknown = outcome == Outcome::Unknown;
        self.record(outcome, now);
        CallResult {
            campaign: self.want.campaign,
            intended,
            sent: self.sent,
            finished: now,
            operations: std::mem::take(&mut self.operations),
            reason,
            is_unknown,
            connection: self.connection,
            attempts: self.attempts,
            not_started: self.not_started,
            again: std::mem::take(&mut self.again),
        }
    }

    fn give_up(&mut self, intended: u64, now: u64) -> CallResult {
        if self.is_too_early && !self.may_have_happened {
            self.operations.pop();
            return self.finish(Outcome::NotStarted, NOT_STARTED.into(), intended, now);
        }
        let outcome = if self.may_have_happened { Outcome::Unknown } else { Outcome::Refused };
        let reason = self.again.last().cloned().unwrap_or(NO_ANSWER.into());
        self.finish(outcome, reason, intended, now)
    }
}

impl Caller {
    fn is_stopping(&self) -> bool {
        self.retry_policy.is_stopping.load(Ordering::Relaxed)
    }

    /// A request with the deadline of an attempt that must not go beyond `end`.
    fn request<T>(&self, message: T, end: Instant) -> Request<T> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut request = Request::new(message);
        request.set_timeout(self.retry_policy.attempt_timeout.min(left));
        request
    }

    /// When a call is given up that should be sent at `intended`; those who wait for a start do so
    /// from then on.
    fn end(&self, intended: u64, patient_until: u64) -> Instant {
        let from = self.clock.now().max(intended).max(patient_until);
        self.clock.instant(from) + self.retry_policy.give_up_after
    }

    /// Waits before another attempt, which goes over the next connection. Returns false if there is
    /// none.
    async fn pause(&mut self, pause: Duration, end: Instant) -> bool {
        if self.is_stopping() || Instant::now() + pause >= end {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.channels.advance();
        !self.is_stopping()
    }

    /// Asks for one coupon. `starts` is when the campaign starts.
    pub(crate) async fn issue(mut self, want: IssueCall, intended: u64, starts: u64) -> CallResult {
        let end = self.end(intended, starts);
        let mut pursuit = CallState::begin(want, self.clock.now());
        loop {
            pursuit.resume(&self);
            let request = self.request(pursuit.request(), end);
            let mut client = CouponServiceClient::new(self.channels.current());
            let answer = match client.issue_coupon(request).await {
                Ok(response) => of_response(response.into_inner()),
                Err(status) => of_status(&status),
            };
            let pause = match pursuit.take(answer, intended, &self) {
                Step::Done(finished) => return finished,
                Step::Again(pause) => pause,
            };
            if !self.pause(pause, end).await {
                return pursuit.give_up(intended, self.clock.now());
            }
        }
    }

    /// Asks for several coupons in one call. What has no answer is asked for again, in a call
    /// without the rest.
    pub(crate) async fn issue_batch(
        mut self,
        wants: Vec<IssueCall>,
        intended: u64,
        starts: u64,
    ) -> Vec<CallResult> {
        let end = self.end(intended, starts);
        let now = self.clock.now();
        let mut open: Vec<CallState> =
            wants.into_iter().map(|want| CallState::begin(want, now)).collect();
        let mut done = Vec::with_capacity(open.len());
        loop {
            for pursuit in &mut open {
                pursuit.resume(&self);
            }
            let requests = open.iter().map(CallState::request).collect();
            let message = v1::BatchIssueCouponsRequest { requests };
            let mut client = CouponServiceClient::new(self.channels.current());
            let answer = client.batch_issue_coupons(self.request(message, end)).await;
            let mut answers = answers(answer.map(tonic::Response::into_inner), open.len());
            let mut pause_max = Duration::ZERO;
            open.retain_mut(|pursuit| {
                let answer = answers.next().expect("there is one for each request");
                match pursuit.take(answer, intended, &self) {
                    Step::Done(finished) => {
                        done.push(finished);
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
                done.extend(open.iter_mut().map(|pursuit| pursuit.give_up(intended, now)));
                return done;
            }
        }
    }

    /// Reads a campaign's counters, once.
    pub(crate) async fn count(self, campaign_id: &str) -> Operation {
        let mut client = CampaignServiceClient::new(self.channels.current());
        let message = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        let end = Instant::now() + self.retry_policy.attempt_timeout;
        let invoked = self.clock.now();
        let answer = client.get_campaign(self.request(message, end)).await;
        let returned = self.clock.now();
        let campaign = answer.ok().and_then(|answer| answer.into_inner().campaign);
        let issued = campaign.and_then(|campaign| u64::try_from(campaign.issued).ok());
        let outcome = issued.map_or(Outcome::Unknown, |issued| Outcome::Counted { issued });
        Operation { invoked, returned, call: Call::Get, outcome }
    }
}

/// The answers to `count` requests of a batch, in their order.
fn answers(
    answer: Result<v1::BatchIssueCouponsResponse, tonic::Status>,
    count: usize,
) -> Box<dyn Iterator<Item = Answer> + Send> {
    match answer {
        Ok(response) => {
            let missing = || Answer::Again {
                reason: "BROKEN_ANSWER".into(),
                pause: None,
                may_have_happened: true,
            };
            let given = response.results.into_iter().map(move |result| match result.result {
                Some(ItemResult::Response(response)) => of_response(response),
                Some(ItemResult::Error(status)) => of_item(&status),
                None => missing(),
            });
            Box::new(given.chain(std::iter::repeat_with(missing)).take(count))
        }
        Err(status) => Box::new(std::iter::repeat_with(move || of_status(&status)).take(count)),
    }
}

/// A pause of which up to half is left out, so that those who failed together do not come back
/// together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
