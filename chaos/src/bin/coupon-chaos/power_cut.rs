//! `coupon-chaos power-cut`: cuts the power of nodes under load, and judges what they still know.
//! `chaos/power-cut` builds and calls it.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser};
use coupon_chaos::power_cut::{Ended, Material, Report, Settings, run};
use coupon_chaos::{Circumstances, LoadReport, Outcomes, Stop};
use coupon_loadtest::history_file;

use crate::files::{check_writable, write};
use crate::machine::{self, load_average};

/// Cuts the power of nodes under load, and judges what they still know.
///
/// Starts a router and three nodes, each on an ext4 image of its own on a loop device. A seed decides when
/// power fails, and on which nodes: mostly on all at once, sometimes on two or one; in a quarter of the rounds
/// once more while they start. Each cut loses what was not synced. Then the nodes start again. Load runs all
/// the time. At the end everything is read back and judged: no coupon issued twice, lost or above the quota,
/// and all replicas equal. Ctrl-C ends the run early and judges what was recorded.
///
/// The run also fails when a node does not come back, exits by itself, or finds that its store has lost
/// acknowledged writes, and when a call is refused for a reason that the API does not promise. Then the disks
/// and logs are kept.
///
/// Needs root, loop devices, ext4 and Python 3. Memory: about 500 bytes for each call. Disk: a few hundred
/// megabytes in TMPDIR.
#[derive(Debug, Parser)]
#[command(
    name = "chaos/power-cut",
    version,
    override_usage = "chaos/power-cut [OPTIONS]",
    after_help = "\
Nodes take settings that are not given here from the environment: COUPON_NODE_LOG_BYTES_KEPT=1000000, and
in a program with the feature `mutants` COUPON_MUTANT=acknowledged-before-sync.

Examples:
  chaos/power-cut
  chaos/power-cut --seed 7 --cuts 100 --report cuts.json"
)]
pub(crate) struct PowerCut {
    /// Seed of the plan [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of power cuts; each takes about five seconds
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cuts: u32,
    /// Requests for coupons per second
    #[arg(long, value_name = "N", default_value_t = 500)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Number of campaigns that share the load at any time; a new one follows each that is sold out
    #[arg(long, value_name = "N", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    campaigns: u32,
    /// The program `coupon`
    #[arg(long, value_name = "FILE", env = "COUPON_PROGRAM", hide_env_values = true)]
    program: PathBuf,
    /// Write the report as JSON to a file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write all calls and coupons to a file, for `coupon check`; it holds recipients and codes
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// Runs the command. Returns whether every promise was kept.
pub(crate) fn carry_out(cli: &PowerCut) -> anyhow::Result<bool> {
    for path in [&cli.report, &cli.history].into_iter().flatten() {
        if let Err(mistake) = check_writable(path) {
            PowerCut::command().error(clap::error::ErrorKind::ValueValidation, mistake).exit();
        }
    }
    let stop = Stop::by_signals().context("catch signals")?;
    let settings = Settings {
        seed: cli.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        cuts: cli.cuts,
        rate: cli.rate,
        campaigns: cli.campaigns,
        program: cli.program.clone(),
        conditions: machine::conditions(),
    };
    let before = load_average();
    let Ended { nodes, shards, incidents, outcomes, aborted, files } = run(&settings, &stop)?;
    let Outcomes { judged, report: load, calls, clock } = outcomes;
    let (history, judged) = match judged {
        Ok(judged) => (Ok(judged.history), Ok((judged.verdict, judged.changed))),
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::new(error));
            (Err(why.clone()), Err(why))
        }
    };
    let report = Report::new(Material {
        circumstances: Circumstances {
            seed: settings.seed,
            repeat: repeat(&settings),
            cores: machine::cores(),
            load_average: [before, load_average()],
            rate: settings.rate,
            campaigns: settings.campaigns,
            shards: shards.len(),
            nodes,
        },
        planned: settings.cuts,
        aborted,
        incidents,
        shards,
        calls,
        load: LoadReport::from(load),
        replicas: history.as_ref().map_or(0, |history| history.replicas.len()),
        judged,
    });
    let told = writeln!(std::io::stdout(), "\n{}", report.text().trim_end());
    if let Some(path) = &cli.report {
        write(path, &format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    }
    if let Some(path) = &cli.history {
        let history =
            history.map_err(|why| anyhow::anyhow!("there is no history to write: {why}"))?;
        history_file::write(path, &history, &clock)?;
    }
    if report.is_ok {
        std::fs::remove_dir_all(&files).with_context(|| format!("remove {}", files.display()))?;
    }
    told.context("print the report")?;
    Ok(report.is_ok)
}

/// The command that carries the same plan out again.
fn repeat(settings: &Settings) -> String {
    let Settings { seed, cuts, rate, campaigns, .. } = settings;
    format!("chaos/power-cut --seed {seed} --cuts {cuts} --rate {rate} --campaigns {campaigns}")
}
