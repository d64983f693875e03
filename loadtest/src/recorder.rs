//! What was recorded: every operation for the checker, and figures for people.
//!
//! Figures are of fixed size. Operations are not: an issued coupon takes about 170 bytes, and as
//! much again when it is read back, so that a run of a million needs some 350 MB to be judged.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use coupon_checker::{Operation, Outcome};
use hdrhistogram::Histogram;

use crate::answer::{AnswerName, ISSUED, SOLD_OUT, is_served};
use crate::client::CallResult;
use crate::clock::nanos;
use crate::series::{Ending, LATENCY_MAX_US, Series};

/// A call that is sent so much later than intended is late. Half of what a person could notice, and
/// more than an idle machine ever needs.
pub const LATE_AFTER: Duration = Duration::from_millis(10);

/// How many different answers are told apart; a server that makes up reasons must not fill memory.
const REASONS_MAX: usize = 64;

/// The digits that latencies are precise to, 1 to 5.
const DIGITS: u8 = 3;

/// A campaign and what was asked of it.
#[derive(Clone, Debug)]
pub struct RecordedCampaign {
    /// Its id.
    pub id: String,
    /// When it starts, on the clock of the recording; 0 if it had started before.
    pub starts: u64,
    /// Whether it was new, so that all calls for it are known.
    pub is_complete: bool,
    /// What it was created with; `None` if it had existed before.
    pub created: Option<Terms>,
    /// Every call.
    pub operations: Vec<Operation>,
}

/// What a campaign was created with, and must still have when all is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How many coupons it has.
    pub quota: u32,
    /// How many coupons a recipient may hold; 0 is no limit.
    pub per_recipient_limit: u32,
    /// When it starts; `None` if that was left to the server.
    pub start: Option<SystemTime>,
}

/// The figures of a run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Calls by what they were answered.
    pub(crate) answers: BTreeMap<AnswerName, u64>,
    /// Coupons that were asked for.
    pub(crate) sent: u64,
    /// Of these, how many were sent more than [`LATE_AFTER`] after they should have been.
    pub(crate) late: u64,
    /// The longest delay of a call before it was sent.
    pub(crate) lateness_max: u64,
    /// Coupons that were answered.
    pub(crate) issued: u64,
    /// Calls that were answered as the campaign promises.
    pub(crate) served: u64,
    /// All others: errors, and calls given up.
    pub(crate) errors: u64,
    /// Calls whose outcome is not known.
    pub(crate) unknown: u64,
    /// Requests that were sent, repetitions included.
    pub(crate) attempts: u64,
    /// Repetitions for want of an answer.
    pub(crate) retries: u64,
    /// Why: answers of attempts that are no answer to the call.
    pub(crate) again: BTreeMap<AnswerName, u64>,
    /// Answers that the campaign has not started, after which it was asked again.
    pub(crate) not_started: u64,
    /// Latencies of all calls that ended, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Latencies of those that got a coupon.
    pub(crate) latency_issued: Histogram<u64>,
    /// Latencies of reads that were answered.
    pub(crate) latency_reads: Histogram<u64>,
    /// Reads without an answer.
    pub(crate) reads_failed: u64,
    /// What happened when.
    pub(crate) series: Series,
    /// When the load began.
    pub(crate) began: u64,
    /// When the last call was sent, or could have been.
    pub(crate) ended_sending: u64,
    /// When the last call ended.
    pub(crate) last_end: u64,
    /// When the last coupon was answered; 0 if none was.
    pub(crate) last_issued: u64,
    /// When a campaign was first said to be sold out; `None` if none was.
    pub(crate) sold_out: Option<u64>,
    /// The longest time without a call that was served.
    pub(crate) gap_max: u64,
    last_served: u64,
}

/// Records.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) campaigns: Vec<RecordedCampaign>,
    pub(crate) figures: Figures,
}

fn histogram() -> Histogram<u64> {
    let histogram = Histogram::new_with_max(LATENCY_MAX_US, DIGITS);
    histogram.expect("the bound and the digits are in range")
}

/// Nanoseconds as microseconds, rounded up: a latency is never shown as less than it was.
fn micros(nanos: u64) -> u64 {
    nanos.div_ceil(1_000)
}

impl Recorder {
    /// Begins at `began` nanoseconds; gaps are counted from `awaited`, when calls can first be
    /// served.
    pub(crate) fn new(
        campaigns: Vec<RecordedCampaign>,
        began: u64,
        awaited: u64,
        seconds: Option<u64>,
    ) -> Self {
        let figures = Figures {
            answers: BTreeMap::new(),
            sent: 0,
            late: 0,
            lateness_max: 0,
            issued: 0,
            served: 0,
            errors: 0,
            unknown: 0,
            attempts: 0,
            retries: 0,
            again: BTreeMap::new(),
            not_started: 0,
            latency: histogram(),
            latency_issued: histogram(),
            latency_reads: histogram(),
            reads_failed: 0,
            series: Series::new(began, seconds),
            began,
            ended_sending: began,
            last_end: began,
            last_issued: 0,
            sold_out: None,
            gap_max: 0,
            last_served: awaited,
        };
        Self { campaigns, figures }
    }

    /// Records a call that is over. Returns whether its campaign was said to be sold out.
    pub(crate) fn finished(&mut self, call: CallResult) -> bool {
        let campaign = &mut self.campaigns[call.campaign];
        let figures = &mut self.figures;
        // Who came before the start waits from the start on.
        let from = call.intended.max(campaign.starts);
        let latency = micros(call.finished.saturating_sub(from));
        let delay = call.sent.saturating_sub(call.intended);
        figures.sent += 1;
        figures.late += u64::from(delay > nanos(LATE_AFTER));
        figures.lateness_max = figures.lateness_max.max(delay);
        figures.attempts += u64::from(call.attempts);
        let not_started = u64::from(call.not_started);
        figures.not_started += not_started;
        figures.retries += u64::from(call.attempts.max(1) - 1).saturating_sub(not_started);
        figures.unknown += u64::from(call.is_unknown);
        figures.last_end = figures.last_end.max(call.finished);
        figures.latency.saturating_record(latency);
        let is_served = !call.is_unknown && is_served(&call.answer);
        let ending = if call.answer == ISSUED {
            figures.issued += 1;
            figures.last_issued = figures.last_issued.max(call.finished);
            figures.latency_issued.saturating_record(latency);
            Ending::Issued
        } else if is_served {
            Ending::Refused
        } else {
            Ending::Failed
        };
        if is_served {
            figures.served += 1;
            figures.serve(call.finished);
        } else {
            figures.errors += 1;
        }
        let is_sold_out = call.answer == SOLD_OUT;
        if is_sold_out {
            figures.sold_out =
                Some(figures.sold_out.map_or(call.finished, |at| at.min(call.finished)));
        }
        figures.series.ended(call.finished, ending, latency);
        count(&mut figures.answers, call.answer);
        for answer in call.again {
            count(&mut figures.again, answer);
        }
        campaign.operations.extend(call.operations);
        is_sold_out
    }

    /// Records a read.
    pub(crate) fn read(&mut self, campaign: usize, operation: Operation) {
        if operation.outcome == Outcome::Unknown {
            // A read changes nothing: without an answer there is nothing to judge.
            self.figures.reads_failed += 1;
            return;
        }
        let latency = micros(operation.returned.saturating_sub(operation.invoked));
        self.figures.latency_reads.saturating_record(latency);
        self.campaigns[campaign].operations.push(operation);
    }

    /// Nothing more is sent from `now` on. Calls under way are still to be served.
    pub(crate) fn end_sending(&mut self, now: u64) {
        self.figures.ended_sending = now;
        self.figures.wait(now);
    }

    /// The last call has ended: if it was not served, a gap ends with it.
    pub(crate) fn end(&mut self) {
        self.figures.wait(self.figures.last_end);
    }
}

impl Figures {
    /// Nothing was served since the last time and until `at`.
    fn wait(&mut self, at: u64) {
        self.gap_max = self.gap_max.max(at.saturating_sub(self.last_served));
    }

    fn serve(&mut self, at: u64) {
        self.wait(at);
        self.last_served = self.last_served.max(at);
    }
}

fn count(answers: &mut BTreeMap<AnswerName, u64>, answer: AnswerName) {
    let is_known = answers.len() < REASONS_MAX || answers.contains_key(&answer);
    let answer = if is_known { answer } else { "OTHER".into() };
    *answers.entry(answer).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn recorder(starts: u64) -> Recorder {
        let campaign = RecordedCampaign {
            id: "a".into(),
            starts,
            is_complete: true,
            created: None,
            operations: Vec::new(),
        };
        Recorder::new(vec![campaign], 0, starts, Some(1))
    }

    fn call(intended: u64, sent: u64, finished: u64, answer: &'static str) -> CallResult {
        CallResult {
            campaign: 0,
            intended: intended * MILLISECOND,
            sent: sent * MILLISECOND,
            finished: finished * MILLISECOND,
            operations: Vec::new(),
            answer: answer.into(),
            is_unknown: false,
            connection: 0,
            attempts: 1,
            not_started: 0,
            again: Vec::new(),
        }
    }

    #[test]
    fn latency_counts_from_the_intended_time() {
        let mut recorder = recorder(0);
        recorder.finished(call(100, 150, 160, ISSUED));
        recorder.finished(call(100, 110, 160, ISSUED));
        let figures = recorder.figures;
        assert!(figures.latency.min() >= 59_900, "{}", figures.latency.min());
        assert_eq!((figures.late, figures.lateness_max), (1, 50 * MILLISECOND));
    }

    #[test]
    fn who_came_too_early_waits_from_the_start_on() {
        let mut recorder = recorder(500 * MILLISECOND);
        recorder.finished(CallResult {
            attempts: 3,
            not_started: 2,
            ..call(400, 400, 510, ISSUED)
        });
        let figures = recorder.figures;
        assert!((9_900..10_100).contains(&figures.latency.max()), "{}", figures.latency.max());
        assert_eq!((figures.not_started, figures.retries, figures.errors), (2, 0, 0));
        assert_eq!(figures.gap_max, 10 * MILLISECOND);
    }

    #[test]
    fn gaps_are_times_without_service() {
        let mut recorder = recorder(0);
        recorder.finished(call(0, 0, 10, ISSUED));
        recorder.finished(call(0, 0, 50, "INTERNAL"));
        recorder.finished(call(0, 0, 90, SOLD_OUT));
        recorder.finished(call(0, 0, 85, SOLD_OUT));
        recorder.end_sending(120 * MILLISECOND);
        recorder.end();
        let figures = recorder.figures;
        assert_eq!(figures.gap_max, 80 * MILLISECOND);
        assert_eq!((figures.served, figures.errors, figures.issued), (3, 1, 1));
        assert_eq!(figures.sold_out, Some(85 * MILLISECOND));
    }

    #[test]
    fn a_gap_goes_on_after_the_end_of_sending() {
        let mut recorder = recorder(0);
        recorder.finished(call(0, 0, 600, ISSUED));
        recorder.end_sending(1_000 * MILLISECOND);
        assert_eq!(recorder.figures.gap_max, 600 * MILLISECOND);
        recorder.finished(call(990, 990, 1_560, ISSUED));
        recorder.end();
        assert_eq!(recorder.figures.gap_max, 960 * MILLISECOND);
        recorder.finished(call(990, 990, 2_660, "INTERNAL"));
        recorder.end();
        assert_eq!(recorder.figures.gap_max, 1_100 * MILLISECOND);
    }

    #[test]
    fn reasons_are_bounded() {
        let mut answers = BTreeMap::new();
        for number in 0..1_000 {
            count(&mut answers, format!("MADE_UP_{number}").into());
        }
        assert_eq!(answers.len(), REASONS_MAX + 1);
        assert_eq!(answers.values().sum::<u64>(), 1_000);
    }
}
