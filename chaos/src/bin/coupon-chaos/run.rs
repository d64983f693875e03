//! `coupon-chaos run`: loads the cluster, breaks it, heals it and judges what it did. `chaos/run` builds and
//! calls it.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser};
use coupon_chaos::{
    Asked, Circumstances, Count, Ended, Kind, LoadReport, Material, Outcomes, Report, Scene,
    Settings, Stop, Successes, Thresholds, effects, run, svg,
};
use coupon_loadtest::{Judged, history_file};

use crate::files::{check_writable, write};
use crate::machine::{self, load_average};

/// Breaks a running cluster under load, one fault after the other, and judges what it answered.
///
/// It sends load to the cluster of `make cluster` in an open loop, puts faults in force in an order
/// that follows from the seed, heals each, and says how long the shard that was hit took to issue
/// again. At the end everything is read back and judged: nothing issued twice, lost or beyond the
/// quota, and all replicas alike. Ctrl-C ends it early; then it heals, and judges what there is.
///
/// A call without an answer is repeated for a minute. One that ends with an error after that fails
/// the run (--max-errors), and so does one that is never sent.
///
/// Needs root for faults of the network. Memory: some 500 bytes for each call.
#[derive(Debug, Parser)]
#[command(
    name = "chaos/run",
    version,
    override_usage = "chaos/run [OPTIONS]",
    after_help = "\
Kinds of faults:
  kill-leader, kill-follower, kill-all, kill-router
  pause-leader, pause-follower     for 5 to 20 seconds
  stop                             the leader in an orderly way, then started again; no call may fail
  restart-each                     all nodes, one after the other; no call may fail
  isolate-leader, in-leader, out-leader, split-minority, bridge, ring
  router-cut                       a router does not reach the leader; measured through that router
  loss                             10 % of the leader's packets

Examples:
  chaos/run --faults kill-leader=5
  chaos/run --seed 7 --faults kill-leader=50,pause-leader=5,restart-each,ring --picture run.svg
  chaos/run --faults kill-leader=200 --max-rto-p50 1s --max-rto-p99 2500ms --max-rto 4s"
)]
pub(crate) struct Run {
    /// What the plan is derived from [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many faults of which kinds; KIND alone is one
    #[arg(long, value_name = "KIND=N,...", value_delimiter = ',', default_value = "kill-leader=5")]
    faults: Vec<Count>,
    /// How many coupons are asked for a second
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How many campaigns they are spread over; each shard gets some
    #[arg(long, value_name = "N", default_value_t = 40)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    campaigns: u32,
    /// The time between two faults
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    settle: Duration,
    /// The routers, router-1 first; they must be those of the same cluster [default: where the routers
    /// of the Compose project are published]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    router: Vec<String>,
    /// Fail if more calls end with an error after all repetitions
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_errors: u64,
    /// Fail if the median time to the next issue is longer, of any kind of which it is measured
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_rto_p50: Option<Duration>,
    /// Fail if more than 1 % of them are longer
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_rto_p99: Option<Duration>,
    /// Fail if one of them is longer
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_rto: Option<Duration>,
    /// Fail if a shard takes longer to issue again after everything was started
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_rto_kill_all: Option<Duration>,
    /// Fail if a shard issues nothing for longer while nodes are stopped or restarted in an orderly way
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_planned_gap: Option<Duration>,
    /// Fail if more calls have to be sent again while nodes are stopped or restarted in an orderly way
    #[arg(long, value_name = "N")]
    max_planned_repeats: Option<u64>,
    /// Write the report as JSON to a file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Draw what happened when, as SVG, to a file
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Write all calls and coupons to a file, for `coupon check`; it holds recipients and codes
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// The directory of the scripts
    #[arg(long, value_name = "DIRECTORY", default_value = "chaos")]
    scripts: PathBuf,
}

/// Runs the command. Returns whether every promise was kept and every threshold reached.
pub(crate) fn carry_out(cli: &Run) -> anyhow::Result<bool> {
    if let Err(mistake) = check(cli) {
        Run::command().error(clap::error::ErrorKind::ValueValidation, mistake).exit();
    }
    run_and_report(cli)
}

/// Finds mistakes before anything is broken.
fn check(cli: &Run) -> Result<(), String> {
    if cli.faults.iter().all(|one| one.count == 0) {
        return Err("a plan without faults shows nothing: --faults KIND=N".to_owned());
    }
    let cuts = cli.faults.iter().any(|one| one.kind == Kind::RouterCut && one.count > 0);
    if cuts && cli.router.len() == 1 {
        return Err(
            "router-cut is measured through the router that is cut off: --router needs both"
                .to_owned(),
        );
    }
    let idle = thresholds(cli).without_measure(&cli.faults);
    if !idle.is_empty() {
        return Err(format!("no fault of the plan is measured by {}", idle.join(", ")));
    }
    for path in [&cli.report, &cli.picture, &cli.history].into_iter().flatten() {
        check_writable(path)?;
    }
    Ok(())
}

fn run_and_report(cli: &Run) -> anyhow::Result<bool> {
    let stop = Stop::by_signals().context("catch signals")?;
    let settings = settings(cli);
    let before = load_average();
    let Ended { topology, incidents, planned, elections, outcomes, aborted } =
        run(&settings, &stop)?;
    let Outcomes { judged, report: load, calls, clock } = outcomes;
    let shards = topology.shards();
    let successes = Successes::of(shards.iter().copied(), calls.iter().filter_map(Asked::success));
    let picture = cli.picture.as_ref().map(|_| {
        let title = format!(
            "seed {}, {} coupons a second wanted, {} faults",
            settings.seed,
            settings.rate,
            incidents.len()
        );
        let began = successes.first().unwrap_or_default();
        svg(&Scene {
            title: &title,
            began,
            ended: successes.last().unwrap_or(began),
            successes: &successes,
            incidents: &incidents,
            elections: &elections,
        })
    });
    let (history, judged) = match judged {
        Ok(Judged { history, verdict, issued_before_start, changed, .. }) => {
            (Ok(history), Ok((verdict, issued_before_start, changed)))
        }
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::new(error));
            (Err(why.clone()), Err(why))
        }
    };
    let material = Material {
        circumstances: Circumstances {
            seed: settings.seed,
            repeat: repeat(cli, &settings),
            cores: machine::cores(),
            load_average: [before, load_average()],
            rate: settings.rate,
            campaigns: settings.campaigns,
            shards: shards.len(),
            nodes: topology.nodes.len(),
        },
        planned,
        aborted,
        effects: effects(&incidents, &successes, &calls),
        incidents,
        elections,
        load: LoadReport::from(load),
        replicas: history.as_ref().map_or(0, |history| history.replicas.len()),
        judged,
    };
    let report = Report::new(material, &thresholds(cli));
    let told = writeln!(std::io::stdout(), "\n{}", report.text().trim_end());
    if let Some((path, picture)) = cli.picture.as_ref().zip(picture) {
        write(path, &picture?)?;
    }
    if let Some(path) = &cli.report {
        write(path, &format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    }
    if let Some(path) = &cli.history {
        let history =
            history.map_err(|why| anyhow::anyhow!("there is no history to write: {why}"))?;
        history_file::write(path, &history, &clock)?;
    }
    told.context("print the report")?;
    Ok(report.is_ok)
}

fn settings(cli: &Run) -> Settings {
    let project = std::env::var("COMPOSE_PROJECT_NAME").ok().filter(|name| !name.is_empty());
    Settings {
        seed: cli.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        faults: cli.faults.clone(),
        rate: cli.rate,
        campaigns: cli.campaigns,
        settle: cli.settle,
        routers: cli.router.clone(),
        project: project.unwrap_or_else(|| "coupon".to_owned()),
        scripts: cli.scripts.clone(),
        conditions: machine::conditions(),
    }
}

fn thresholds(cli: &Run) -> Thresholds {
    Thresholds {
        errors_max: cli.max_errors,
        rto_p50_max: cli.max_rto_p50,
        rto_p99_max: cli.max_rto_p99,
        rto_max: cli.max_rto,
        restart_max: cli.max_rto_kill_all,
        planned_gap_max: cli.max_planned_gap,
        planned_repeats_max: cli.max_planned_repeats,
    }
}

/// The command that runs the same plan again, on a cluster like this one.
fn repeat(cli: &Run, settings: &Settings) -> String {
    let faults: Vec<String> = cli.faults.iter().map(Count::to_string).collect();
    let settle = humantime::format_duration(cli.settle).to_string().replace(' ', "");
    let mut text = format!(
        "COMPOSE_PROJECT_NAME={} chaos/run --seed {} --faults {} --rate {} --campaigns {} --settle {settle}",
        settings.project,
        settings.seed,
        faults.join(","),
        cli.rate,
        cli.campaigns
    );
    if !cli.router.is_empty() {
        text.push_str(&format!(" --router {}", cli.router.join(",")));
    }
    if cli.max_errors > 0 {
        text.push_str(&format!(" --max-errors {}", cli.max_errors));
    }
    if let Some(most) = cli.max_planned_repeats {
        text.push_str(&format!(" --max-planned-repeats {most}"));
    }
    let thresholds = [
        ("max-rto-p50", cli.max_rto_p50),
        ("max-rto-p99", cli.max_rto_p99),
        ("max-rto", cli.max_rto),
        ("max-rto-kill-all", cli.max_rto_kill_all),
        ("max-planned-gap", cli.max_planned_gap),
    ];
    for (name, most) in thresholds {
        if let Some(most) = most {
            let most = humantime::format_duration(most).to_string().replace(' ', "");
            text.push_str(&format!(" --{name} {most}"));
        }
    }
    text
}
