//! The command line of `coupon loadtest`.

use std::path::PathBuf;
use std::time::Duration;

use coupon_loadtest::{
    BATCH_MAX, CAMPAIGNS_MAX, IN_FLIGHT_MAX, Options, Pattern, Popularity, Target, Thresholds,
};

use crate::failure::UsageError;
use crate::settings::Span;

/// How many coupons a second an open loop asks for unless it is said.
const RATE: u32 = 1_000;

/// How many callers a stampede has unless it is said.
const CALLERS: u32 = 20_000;

/// How many calls of a closed loop are under way unless it is said.
const CONCURRENCY: u32 = 256;

/// Sends load to a router, reads everything back and judges it.
///
/// By default an open loop: calls are sent at --rate, whatever is answered, and latency counts from
/// the time at which a call should have been sent. --closed sends a call when another one ends,
/// which finds peaks. With --stampede all callers wait for the start of the campaign and call at
/// once; one in ten cannot wait and is told NOT_STARTED first.
///
/// A call without an answer is repeated with the same request id. At the end all coupons are read
/// back and judged: nothing issued twice, beyond the quota, out of order or lost. Exits with 1 if
/// that is not so, or if a threshold is missed. Ctrl-C ends the load early, and the verdict follows.
///
/// Memory: about 350 bytes for each coupon until all are judged, so a million need 350 MB.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon loadtest --rate 2000 --duration 30s --max-p99 50ms --max-errors 0
  coupon loadtest --closed --concurrency 256 --renew --json peak.json
  coupon loadtest --stampede --callers 20000 --quota 10000 --max-gap 3s
  coupon loadtest --rate 5000 --batch 50 --campaigns 20 --hot zipf:1.1 --history run.jsonl
  coupon loadtest --closed --concurrency 1024 --stream --renew
  coupon loadtest --router a:7000,b:7000 --campaign spring --rate 100
  coupon check run.jsonl")]
pub(crate) struct LoadtestArgs {
    /// A router; several share the load
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', env = "COUPON_ROUTER")]
    #[arg(default_value = "127.0.0.1:7000")]
    router: Vec<String>,
    /// How many connections each router gets; more if the load needs them
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_024))]
    connections: u32,

    /// Open loop: coupons asked for per second [default: 1000]
    #[arg(long, value_name = "N", conflicts_with_all = ["closed", "stampede"])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// How long load is sent; a stampede ends by itself
    #[arg(long, value_name = "DURATION", default_value = "10s", conflicts_with = "stampede")]
    duration: Span,
    /// Send the next call when one is answered
    #[arg(long, conflicts_with = "stampede")]
    closed: bool,
    /// Closed loop: how many calls are under way [default: 256]
    #[arg(long, value_name = "N", requires = "closed")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: Option<u32>,
    /// All callers call at the start of the campaigns
    #[arg(long)]
    stampede: bool,
    /// Stampede: how many call [default: 20000]
    #[arg(long, value_name = "N", requires = "stampede")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    callers: Option<u32>,
    /// Stampede: how long after now the campaigns start
    #[arg(long, value_name = "DURATION", default_value = "5s", requires = "stampede")]
    start_in: Span,

    /// An existing campaign. Other callers may use it too, so a coupon that this run did not ask for
    /// is not a fault
    #[arg(long, value_name = "ID")]
    #[arg(conflicts_with_all = ["campaigns", "quota", "per_recipient_limit", "renew", "stampede"])]
    campaign: Option<String>,
    /// How many campaigns are created
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(CAMPAIGNS_MAX)))]
    campaigns: u32,
    /// What their ids begin with [default: load- and 8 random digits]
    #[arg(long, value_name = "TEXT", conflicts_with = "campaign")]
    campaign_prefix: Option<String>,
    /// How many coupons each has
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    quota: u32,
    /// How many coupons a recipient may hold; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    per_recipient_limit: u32,
    /// Create another campaign when one is sold out
    #[arg(long, conflicts_with = "stampede")]
    renew: bool,
    /// How load is spread over the campaigns: uniform, or zipf:S with the first one the hottest
    #[arg(long, value_name = "LAW", default_value_t)]
    hot: Popularity,
    /// How many recipients there are, chosen at random, so that limits are met [default: always new ones]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    recipients: Option<u64>,
    /// Coupons in one BatchIssueCoupons call [default: IssueCoupon, one at a time]
    #[arg(long, value_name = "N", conflicts_with = "stampede")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    batch: Option<u32>,
    /// Send the requests over one IssueStream for each connection
    #[arg(long, conflicts_with = "batch")]
    stream: bool,
    /// How often counters are read, which lets the verdict see the order of things
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    reads_per_second: u32,

    /// How long one attempt of a call may take
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: Span,
    /// How long a call without an answer is repeated; then its outcome is unknown
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    give_up_after: Span,
    /// How many calls are under way at most; others wait and are late
    #[arg(long, value_name = "N", default_value_t = IN_FLIGHT_MAX)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    max_in_flight: usize,
    /// What the choice of campaigns and recipients is derived from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    thresholds: ThresholdArgs,
    /// Write the report with a series for pictures to a file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write all calls and coupons to a file, for `coupon check`; it holds recipients and codes
    #[arg(long, value_name = "FILE")]
    pub(super) history: Option<PathBuf>,
}

/// What must be reached for an exit code of 0.
#[derive(Debug, clap::Args)]
struct ThresholdArgs {
    /// Fail if more than 1 % of the calls took longer, or any was never sent
    #[arg(long, value_name = "DURATION")]
    max_p99: Option<Span>,
    /// Fail if fewer calls a second were served: given a coupon, or a refusal that is due
    #[arg(long, value_name = "N")]
    min_rate: Option<u64>,
    /// Fail if more calls were not served or never sent
    #[arg(long, value_name = "N")]
    max_errors: Option<u64>,
    /// Fail if no call was served for longer
    #[arg(long, value_name = "DURATION")]
    max_gap: Option<Span>,
}

impl LoadtestArgs {
    /// What is asked of the library.
    ///
    /// # Errors
    /// [`UsageError`] when arguments do not go together.
    pub(super) fn options(&self) -> Result<Options, UsageError> {
        let pattern = if self.stampede {
            let (callers, start_in) = (self.callers.unwrap_or(CALLERS), self.start_in.get());
            if start_in < Duration::from_secs(1) {
                let why = "--start-in: callers come before the start, so it must be 1s or more";
                return Err(UsageError(why.into()));
            }
            Pattern::Stampede { callers, start_in }
        } else if self.closed {
            Pattern::Closed { concurrency: self.concurrency.unwrap_or(CONCURRENCY) }
        } else {
            Pattern::Open { rate: self.rate.unwrap_or(RATE) }
        };
        let target = match &self.campaign {
            Some(campaign_id) => Target::Existing { campaign_id: campaign_id.clone() },
            None => Target::New {
                prefix: self.campaign_prefix.clone().unwrap_or_else(|| unique_prefix("load")),
                count: self.campaigns,
                quota: self.quota,
                per_recipient_limit: self.per_recipient_limit,
                is_renewed: self.renew,
            },
        };
        Ok(Options {
            routers: self.router.clone(),
            connections: self.connections,
            pattern,
            duration: (!self.stampede).then(|| self.duration.get()),
            target,
            popularity: self.hot,
            recipients: self.recipients,
            batch: self.batch,
            is_streamed: self.stream,
            reads_per_second: self.reads_per_second,
            attempt_timeout: self.timeout.get(),
            give_up_after: self.give_up_after.get(),
            in_flight_max: self.max_in_flight,
            seed: self.seed,
        })
    }

    /// What must be reached.
    pub(super) fn thresholds(&self) -> Thresholds {
        let ThresholdArgs { max_p99, min_rate, max_errors, max_gap } = &self.thresholds;
        Thresholds {
            p99_max: max_p99.map(Span::get),
            rate_min: *min_rate,
            errors_max: *max_errors,
            gap_max: max_gap.map(Span::get),
        }
    }
}

/// A prefix for the ids of campaigns that no other run has.
pub(crate) fn unique_prefix(name: &str) -> String {
    let run = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}-{}", &run[..8])
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: LoadtestArgs,
    }

    fn parse(line: &str) -> Result<LoadtestArgs, clap::Error> {
        let words = std::iter::once("loadtest").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    #[test]
    fn an_open_loop_is_the_default() {
        let options = parse("").unwrap().options().unwrap();
        assert_eq!(options.pattern, Pattern::Open { rate: 1_000 });
        assert_eq!(options.duration, Some(Duration::from_secs(10)));
        let Target::New { prefix, quota: 100_000, .. } = options.target else { panic!() };
        assert!(prefix.starts_with("load-") && prefix.len() == 13, "{prefix}");
    }

    #[test]
    fn a_stampede_has_no_duration() {
        let args = parse("--stampede --callers 500 --start-in 2s").unwrap();
        let options = args.options().unwrap();
        let start_in = Duration::from_secs(2);
        assert_eq!(options.pattern, Pattern::Stampede { callers: 500, start_in });
        assert_eq!(options.duration, None);
        assert!(parse("--stampede --start-in 10ms").unwrap().options().is_err());
    }

    #[test]
    fn routers_are_repeated_or_listed() {
        let listed = parse("--router a:1,b:2").unwrap().options().unwrap();
        let repeated = parse("--router a:1 --router b:2").unwrap().options().unwrap();
        assert_eq!(listed.routers, ["a:1", "b:2"]);
        assert_eq!(listed.routers, repeated.routers);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for wrong in [
            "--rate 5 --closed",
            "--rate 5 --stampede",
            "--concurrency 5",
            "--callers 5",
            "--start-in 5s",
            "--stampede --duration 5s",
            "--stampede --batch 5",
            "--stream --batch 5",
            "--campaign a --quota 5",
            "--campaign a --stampede",
            "--batch 1001",
            "--hot zipf",
            "--max-p99 50",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
