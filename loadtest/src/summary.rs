//! What came of a run, for people.

use std::fmt::{self, Display, Formatter};

use crate::report::{Latency, Report};

/// A report as text of some twenty lines, without the verdict.
pub(crate) struct Summary<'a>(pub(crate) &'a Report);

impl Report {
    /// The figures for people, some twenty lines.
    #[must_use]
    pub fn summary(&self) -> impl Display + '_ {
        Summary(self)
    }
}

/// A duration, at a precision that people can use.
struct Millis(f64);

impl Display for Millis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 >= 10_000.0 {
            write!(f, "{:.1} s", self.0 / 1e3)
        } else if self.0 >= 100.0 {
            write!(f, "{:.0} ms", self.0)
        } else {
            write!(f, "{:.1} ms", self.0)
        }
    }
}

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let offered = report.offered;
        match report.offered_per_second {
            Some(rate) => {
                writeln!(
                    f,
                    "offered      {offered} coupons asked for, {rate} a second (open loop)"
                )?;
            }
            None => writeln!(f, "offered      {offered} coupons asked for ({})", report.pattern)?,
        }
        if !report.is_complete {
            writeln!(f, "campaign     existed before: coupons that others asked for are no fault")?;
        }
        if report.pattern != "closed" {
            writeln!(
                f,
                "sent late    {} by more than {} ms, at most by {}; {} never sent",
                report.late,
                report.late_after_ms,
                Millis(report.lateness_max_ms),
                report.unsent
            )?;
        }
        writeln!(
            f,
            "issued       {} coupons in {:.1} s: {} a second",
            report.issued, report.elapsed_seconds, report.issued_per_second
        )?;
        writeln!(
            f,
            "served       {} calls: {} a second; {} errors, {} of them unknown",
            report.served, report.served_per_second, report.errors, report.unknown
        )?;
        writeln!(
            f,
            "attempts     {}, of which {} repeated a call without an answer{}",
            report.attempts,
            report.retries,
            after(&report.retries_after)
        )?;
        writeln!(f, "longest gap  {} without a call served", Millis(report.longest_gap_ms))?;
        stampede(f, report)?;
        answers(f, report)?;
        latencies(f, report)?;
        generator(f, report)
    }
}

/// What answers repetitions followed.
fn after(reasons: &std::collections::BTreeMap<String, u64>) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let reasons: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    format!(" ({})", reasons.join(", "))
}

fn stampede(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let Some(stampede) = &report.stampede else { return Ok(()) };
    writeln!(f, "\nfrom the start of the campaign")?;
    let mut line = |what: &str, after: Option<f64>| match after {
        Some(millis) => writeln!(f, "  {what:<28}{:>12}", Millis(millis).to_string()),
        None => writeln!(f, "  {what:<28}{:>12}", "-"),
    };
    line("first told it is sold out", stampede.first_refusal_after_ms)?;
    line("last coupon, by log time", stampede.sold_out_after_by_log_time_ms)?;
    line("last coupon answered", stampede.sold_out_after_ms)?;
    line("all callers answered", Some(stampede.all_answered_after_ms))?;
    writeln!(f, "  {:<28}{:>12}", "told it has not started", stampede.not_started)?;
    writeln!(f, "  {:<28}{:>12}", "issued before the start", report.issued_before_start)
}

fn answers(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(f, "\nanswers")?;
    for (reason, count) in &report.answers {
        writeln!(f, "  {reason:<28}{count:>12}")?;
    }
    Ok(())
}

fn latencies(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let head = ["p50", "p90", "p99", "p99.9", "max"];
    write!(f, "\n{:<20}{:>10}", "latency in ms", "count")?;
    for name in head {
        write!(f, "{name:>10}")?;
    }
    writeln!(f)?;
    let rows = [
        ("  all calls", report.latency),
        ("  with a coupon", report.latency_issued),
        ("  reads", report.latency_reads),
    ];
    for (name, Latency { count, p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms }) in rows {
        if count > 0 {
            write!(f, "{name:<20}{count:>10}")?;
            for value in [p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms] {
                write!(f, "{value:>10.2}")?;
            }
            writeln!(f)?;
        }
    }
    if report.reads_failed > 0 {
        writeln!(f, "  {} reads got no answer", report.reads_failed)?;
    }
    Ok(())
}

fn generator(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let busy = report
        .generator_busy
        .map_or_else(|| "unknown".to_owned(), |busy| format!("{:.0} % of one core", busy * 100.0));
    write!(
        f,
        "\ngenerator    busy {busy}; {} calls under way at most\nbottleneck   {}",
        report.in_flight_top, report.bottleneck
    )?;
    if report.was_stopped {
        write!(f, "\nstopped      before its time")?;
    }
    Ok(())
}
