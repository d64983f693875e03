//! What came of a run, for programs: one JSON document, to which fields are only ever added.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use coupon_checker::Verdict;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::answer::AnswerName;
use crate::bottleneck::{self, Bottleneck, Symptoms};
use crate::clock::{Clock, nanos};
use crate::engine::Sending;
use crate::file::{FileError, replace};
use crate::judge::Judged;
use crate::options::{Options, Pattern, Target};
use crate::progress::rate;
use crate::recorder::{Figures, LATE_AFTER};
use crate::series::Slot;

/// Under what conditions a run was made, as far as its caller knows better.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The version of the program.
    pub version: String,
    /// The command line.
    pub arguments: Vec<String>,
}

/// Latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Of how many calls.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 90 % took at most this.
    pub p90_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p99_9_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// How a stampede went. Times count from the start of the campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stampede {
    /// How many callers there were.
    pub callers: u32,
    /// When the last coupon was answered, in milliseconds; `None` if the campaigns are not sold out.
    pub sold_out_after_ms: Option<f64>,
    /// When the last coupon was issued by the servers' clock.
    pub sold_out_after_by_log_time_ms: Option<f64>,
    /// When a caller was first told that a campaign is sold out.
    pub first_refusal_after_ms: Option<f64>,
    /// When the last caller had an answer.
    pub all_answered_after_ms: f64,
    /// Number of answers that the campaign has not started.
    pub not_started: u64,
}

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything was judged and every promise kept. Thresholds are not part of it.
    pub is_ok: bool,
    /// The version of the program.
    pub version: String,
    /// The command line.
    pub arguments: Vec<String>,
    /// When the recording began, by the wall clock.
    pub began: String,
    /// How many processors the load generator's machine has.
    pub cores: usize,
    /// The routers.
    pub routers: Vec<String>,
    /// `open`, `closed` or `stampede`.
    pub pattern: &'static str,
    /// Whether all calls for the campaigns are known. False for an existing one: others may have asked
    /// as well, so that a coupon without a known call is not taken for a fault.
    pub is_complete: bool,
    /// How many campaigns got load.
    pub campaigns: usize,
    /// How many coupons were to be asked for a second; `None` where answers decide.
    pub offered_per_second: Option<u32>,
    /// How many coupons were to be asked for.
    pub offered: u64,
    /// How many were asked for.
    pub sent: u64,
    /// How many were asked for more than `late_after_ms` after the intended time.
    pub late: u64,
    /// When a call is late.
    pub late_after_ms: u64,
    /// The longest delay of a call before it was sent.
    pub lateness_max_ms: f64,
    /// How many were to be asked for and were not, since too many calls were under way to the end.
    pub unsent: u64,
    /// From the beginning (of a stampede: from the start) to the end of sending or the last answer,
    /// whichever is later.
    pub elapsed_seconds: f64,
    /// Coupons that were answered.
    pub issued: u64,
    /// The same a second.
    pub issued_per_second: u64,
    /// Calls that were answered as the campaign promises: coupons and refusals that are due.
    pub served: u64,
    /// The same a second.
    pub served_per_second: u64,
    /// All other calls: errors, and those given up.
    pub errors: u64,
    /// Calls of which is not known what came of them.
    pub unknown: u64,
    /// Requests that were sent, repetitions included.
    pub attempts: u64,
    /// Repetitions for want of an answer.
    pub retries: u64,
    /// Why: attempts by the answer that was none.
    pub retries_after: BTreeMap<String, u64>,
    /// Calls by what they were answered; those given up by what their last attempt was answered.
    pub answers: BTreeMap<String, u64>,
    /// Of all calls, from the intended time to the final answer.
    pub latency: Latency,
    /// Of those that got a coupon.
    pub latency_issued: Latency,
    /// Of reads of the counters, which are sent once.
    pub latency_reads: Latency,
    /// Reads without an answer.
    pub reads_failed: u64,
    /// The longest time without a call that was served.
    pub longest_gap_ms: f64,
    /// How much of the time of sending the generator's thread was on a processor, 0 to 1.
    pub generator_busy: Option<f64>,
    /// How many calls were under way at most.
    pub in_flight_top: usize,
    /// What kept the figures from being better.
    pub bottleneck: Bottleneck,
    /// Whether it was ended before its time.
    pub was_stopped: bool,
    /// How a stampede went.
    pub stampede: Option<Stampede>,
    /// Coupons that were issued before the start of their campaign, by log time.
    pub issued_before_start: u64,
    /// Campaigns that are gone, or have other terms than they were created with.
    pub changed: Vec<String>,
    /// What the checker says; `None` if the campaigns could not be read back.
    pub verdict: Option<Verdict>,
    /// The thresholds that were missed; empty if there are none.
    pub missed: Vec<String>,
    /// How long a slot of the series is.
    pub slot_ms: u32,
    /// What happened when.
    pub series: Vec<Slot>,
}

/// What a report is made of.
pub(crate) struct Material<'a> {
    pub(crate) options: &'a Options,
    pub(crate) clock: &'a Clock,
    pub(crate) figures: Figures,
    pub(crate) sending: Sending,
    pub(crate) starts: u64,
    pub(crate) campaigns: usize,
    pub(crate) judged: &'a Judged,
}

impl Report {
    pub(crate) fn new(material: Material<'_>, conditions: Conditions) -> Self {
        let Material { options, clock, figures, sending, starts, campaigns, judged } = material;
        let (pattern, offered_per_second) = match options.pattern {
            Pattern::Open { rate } => ("open", Some(rate)),
            Pattern::Closed { .. } => ("closed", None),
            Pattern::Stampede { .. } => ("stampede", None),
        };
        let is_open = !matches!(options.pattern, Pattern::Closed { .. });
        let symptoms = Symptoms {
            is_open,
            busy: sending.busy,
            offered: figures.sent + sending.unsent,
            late: figures.late + sending.unsent,
            was_bounded: sending.was_bounded,
        };
        let last = figures.last_end.max(figures.ended_sending);
        let elapsed = last.saturating_sub(figures.began.max(starts));
        let stampede = stampede(options, &figures, starts, judged);
        Self {
            is_ok: judged.is_ok(),
            version: conditions.version,
            arguments: conditions.arguments,
            began: humantime::format_rfc3339_millis(clock.began_at()).to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            routers: options.routers.clone(),
            pattern,
            is_complete: matches!(options.target, Target::New { .. }),
            campaigns,
            offered_per_second,
            offered: symptoms.offered,
            sent: figures.sent,
            late: figures.late,
            late_after_ms: u64::try_from(LATE_AFTER.as_millis()).unwrap_or(u64::MAX),
            lateness_max_ms: millis(figures.lateness_max),
            unsent: sending.unsent,
            elapsed_seconds: millis(elapsed) / 1e3,
            issued: figures.issued,
            issued_per_second: rate(figures.issued, elapsed),
            served: figures.served,
            served_per_second: rate(figures.served, elapsed),
            errors: figures.errors,
            unknown: figures.unknown,
            attempts: figures.attempts,
            retries: figures.retries,
            retries_after: named(&figures.again),
            answers: named(&figures.answers),
            latency: latency(&figures.latency),
            latency_issued: latency(&figures.latency_issued),
            latency_reads: latency(&figures.latency_reads),
            reads_failed: figures.reads_failed,
            longest_gap_ms: millis(figures.gap_max),
            generator_busy: sending.busy,
            in_flight_top: sending.in_flight_top,
            bottleneck: bottleneck::find(symptoms),
            // Without a duration, being stopped is its way to end.
            was_stopped: sending.was_stopped && options.duration.is_some(),
            stampede,
            issued_before_start: judged.issued_before_start,
            changed: judged.changed.clone(),
            verdict: Some(judged.verdict.clone()),
            missed: Vec::new(),
            slot_ms: figures.series.slot_ms(),
            series: figures.series.finish(),
        }
    }

    /// Writes the report as JSON, in the place of a file that was there before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        use std::io::Write as _;
        replace(path, 0o666, |file| {
            let mut file = std::io::BufWriter::new(file);
            serde_json::to_writer_pretty(&mut file, self)?;
            writeln!(file)?;
            file.flush()
        })
    }
}

fn stampede(
    options: &Options,
    figures: &Figures,
    starts: u64,
    judged: &Judged,
) -> Option<Stampede> {
    let Pattern::Stampede { callers, .. } = options.pattern else { return None };
    let after = |time: u64| millis(time.saturating_sub(starts));
    let all = judged.history.campaigns.iter();
    let is_sold_out = all.clone().all(|campaign| {
        u64::try_from(campaign.rows.len()).is_ok_and(|count| count >= campaign.quota)
    });
    let is_ours = matches!(options.target, Target::New { .. });
    let is_sold_out = is_sold_out && is_ours && !judged.history.campaigns.is_empty();
    Some(Stampede {
        callers,
        sold_out_after_ms: is_sold_out.then(|| after(figures.last_issued)),
        sold_out_after_by_log_time_ms: judged
            .sold_out_after
            .filter(|_| is_sold_out)
            .map(|duration: Duration| millis(nanos(duration))),
        first_refusal_after_ms: figures.sold_out.map(after),
        all_answered_after_ms: after(figures.last_end),
        not_started: figures.not_started,
    })
}

fn named(counts: &BTreeMap<AnswerName, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| (name.to_string(), *count)).collect()
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile| millis(histogram.value_at_quantile(quantile) * 1_000);
    Latency {
        count: histogram.len(),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p99_9_ms: at(0.999),
        max_ms: at(1.0),
    }
}

/// Nanoseconds as milliseconds, to the microsecond.
#[expect(clippy::cast_precision_loss, reason = "whole microseconds of some years fit into 2^52")]
fn millis(nanos: u64) -> f64 {
    (nanos / 1_000) as f64 / 1e3
}
