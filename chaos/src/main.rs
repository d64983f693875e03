//! `coupon-chaos`: one command that gives load, breaks the cluster, heals it and judges what it did.
//! `chaos/run` builds and calls it.
//!
//! Exit codes: 0 every promise was kept and every threshold reached; 1 not so; 2 a mistake in the
//! command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use coupon_chaos::{
    Circumstances, Count, Ended, LoadReport, Material, Report, Scene, Settings, Stop, Success,
    Successes, Thresholds, effects, run, svg,
};
use coupon_checker::{Call, Outcome};
use coupon_loadtest::{Conditions, history_file};

/// Breaks a running cluster under load, one fault after the other, and judges what it answered.
///
/// It gives load to the cluster of `make cluster` in an open loop, puts faults in force in an order
/// that follows from the seed, heals each, and says how long the shard that was hit took to issue
/// again. At the end everything is read back and judged: nothing issued twice, lost or beyond the
/// quota, and all replicas alike. Ctrl-C ends it early; then it heals, and judges what there is.
///
/// Needs root for faults of the network. Memory: some 500 bytes for each call.
#[derive(Debug, Parser)]
#[command(
    name = "chaos/run",
    version,
    after_help = "\
Kinds of faults:
  kill-leader, kill-follower, kill-all, kill-router
  pause-leader, pause-follower     for 5 to 20 seconds
  stop                             the leader in an orderly way, then started again; no call may fail
  restart-each                     all nodes, one after the other; no call may fail
  isolate-leader, in-leader, out-leader, split-minority, bridge, ring, router-cut
  loss                             10 % of the leader's packets

Examples:
  chaos/run --faults kill-leader=5
  chaos/run --seed 7 --faults kill-leader=50,pause-leader=5,restart-each,ring --picture run.svg
  chaos/run --faults kill-leader=200 --max-rto-p50 1s --max-rto-p99 2500ms --max-rto 4s"
)]
struct Cli {
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
    /// The routers [default: the two of compose.cluster.yml]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    router: Vec<String>,
    /// Fail if the median time to the next issue is longer, of any kind that hits a leader
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run_and_report(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos/run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_and_report(cli: &Cli) -> anyhow::Result<bool> {
    let stop = Stop::by_signals().context("catch signals")?;
    let settings = settings(cli);
    let before = load_average();
    let ended = run(&settings, &stop)?;
    let shards = ended.topology.shards();
    let successes = successes(&ended, &shards);
    let circumstances = Circumstances {
        seed: settings.seed,
        repeat: repeat(cli, &settings),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load_average: [before, load_average()],
        rate: settings.rate,
        campaigns: settings.campaigns,
        shards: shards.len(),
        nodes: ended.topology.nodes.len(),
    };
    if let Some(path) = &cli.history {
        history_file::write(path, &ended.outcomes.judged.history, &ended.outcomes.clock)?;
    }
    if let Some(path) = &cli.picture {
        let title = format!(
            "seed {}, {} coupons a second wanted, {} faults",
            settings.seed,
            settings.rate,
            ended.incidents.len()
        );
        let began = successes.first().unwrap_or_default();
        let scene = Scene {
            title: &title,
            began,
            ended: successes.last().unwrap_or(began),
            successes: &successes,
            incidents: &ended.incidents,
            elections: &ended.elections,
        };
        write(path, &svg(&scene)?)?;
    }
    let report = Report::new(material(ended, &successes, circumstances), &thresholds(cli));
    if let Some(path) = &cli.report {
        write(path, &format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    }
    println!("\n{}", report.text().trim_end());
    Ok(report.is_ok)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn settings(cli: &Cli) -> Settings {
    let variable = |name: &str, usual: &str| {
        std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or(usual.to_owned())
    };
    let port = |name, usual| format!("127.0.0.1:{}", variable(name, usual));
    let routers = if cli.router.is_empty() {
        vec![port("CLUSTER_PORT_1", "7001"), port("CLUSTER_PORT_2", "7002")]
    } else {
        cli.router.clone()
    };
    let arguments = std::env::args_os().skip(1);
    Settings {
        seed: cli.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        faults: cli.faults.clone(),
        rate: cli.rate,
        campaigns: cli.campaigns,
        settle: cli.settle,
        routers,
        project: variable("COMPOSE_PROJECT_NAME", "coupon"),
        scripts: cli.scripts.clone(),
        conditions: Conditions {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arguments: arguments.map(|one| one.to_string_lossy().into_owned()).collect(),
        },
    }
}

fn thresholds(cli: &Cli) -> Thresholds {
    Thresholds {
        rto_p50_max: cli.max_rto_p50,
        rto_p99_max: cli.max_rto_p99,
        rto_max: cli.max_rto,
        restart_max: cli.max_rto_kill_all,
        planned_gap_max: cli.max_planned_gap,
    }
}

/// The command that runs the same plan again, on a cluster like this one.
fn repeat(cli: &Cli, settings: &Settings) -> String {
    let faults: Vec<String> = cli.faults.iter().map(Count::to_string).collect();
    let settle = humantime::format_duration(cli.settle).to_string().replace(' ', "");
    let mut text = format!(
        "COMPOSE_PROJECT_NAME={} chaos/run --seed {} --faults {} --rate {} --campaigns {} --settle {settle} \
         --router {}",
        settings.project,
        settings.seed,
        faults.join(","),
        cli.rate,
        cli.campaigns,
        settings.routers.join(",")
    );
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

/// The coupons of each shard.
fn successes(ended: &Ended, shards: &[u32]) -> Successes {
    let campaigns = ended.outcomes.judged.history.campaigns.iter();
    let all = campaigns.filter_map(|campaign| {
        let shard = ended.topology.owner(&campaign.id)?;
        let issued = campaign.operations.iter().filter(|operation| {
            let is_issue = matches!(operation.call, Call::Issue { .. });
            is_issue && matches!(operation.outcome, Outcome::Issued { .. })
        });
        Some(issued.map(move |operation| {
            (shard, Success { invoked: operation.invoked, returned: operation.returned })
        }))
    });
    Successes::of(shards.iter().copied(), all.flatten())
}

fn material(ended: Ended, successes: &Successes, circumstances: Circumstances) -> Material {
    let Ended { incidents, planned, elections, outcomes, aborted, .. } = ended;
    let history = &outcomes.judged.history;
    let operations = history.campaigns.iter().flat_map(|campaign| &campaign.operations);
    let effects = effects(&incidents, successes, operations);
    let load = &outcomes.report;
    Material {
        circumstances,
        planned,
        aborted,
        effects,
        incidents,
        elections,
        load: LoadReport {
            sent: load.sent,
            issued: load.issued,
            errors: load.errors,
            late: load.late,
            latency: load.latency,
            elapsed_seconds: load.elapsed_seconds,
        },
        issued_before_start: outcomes.judged.issued_before_start,
        replicas: history.replicas.len(),
        verdict: outcomes.judged.verdict,
    }
}

/// The load average of the machine over a minute.
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
