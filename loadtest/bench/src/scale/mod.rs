//! `coupon-bench scale`: what further shard groups bring.
//!
//! One, two, four and eight nodes, each limited to the same small share of a processor, imitate as many machines. Each
//! holds the only replica of one shard, so every node does the same work at every step. With more replicas, nodes
//! would also follow other leaders, more of them at some steps than at others, and steps could not be compared. The
//! meta shard is on one more node, which is limited as well and owns no campaigns: it would take its share from a
//! node that is measured.
//!
//! Router and load generator are not limited. A step tells how much of its time they were busy, and the machine idle,
//! so that a bottleneck other than the nodes shows; growth beyond linear shows one as well.

mod plot;
mod report;
mod step;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use self::report::ScaleReport;
use self::step::{GROUPS, Stage, Steps};
use crate::machine::conditions::Conditions;
use crate::machine::cpu_limit::ControlGroups;
use crate::report::table;

/// Measures how throughput grows with shard groups; needs root, for limits on CPU time.
#[derive(Debug, clap::Args)]
pub(crate) struct ScaleArgs {
    /// The program to measure [default: coupon, beside this program]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Number of rounds; each measures 1, 2, 4 and 8 shard groups once
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Length of one measurement in seconds
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: u16,
    /// Percent of a processor that each node may use; so small that eight of them leave enough to the router and
    /// the load generator
    #[arg(long, value_name = "PERCENT", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    share: u16,
    /// Directory in which the nodes keep their data meanwhile; it should be on a disk
    /// [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory for scale.json and scale.html [default: neither is written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) async fn measure(args: ScaleArgs) -> anyhow::Result<()> {
    let control_groups = ControlGroups::find()?;
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("coupon"),
    };
    let data = args.data.unwrap_or_else(std::env::temp_dir);
    let rounds = usize::from(args.rounds);
    let conditions = Conditions::look(&program, &data, rounds, args.seconds.into())?;
    println!("{}", table::conditions(&conditions));
    let length = Duration::from_secs(args.seconds.into());
    let stage = Stage { program, data, control_groups, share_percent: args.share, length };
    let (steps, faults) = all_rounds(&stage, rounds).await?;
    let report = ScaleReport::new(conditions, args.share, steps, faults);
    println!("{}", report.text());
    if let Some(dir) = args.out {
        report.write(&dir)?;
        println!("written: {} and scale.json beside it", dir.join("scale.html").display());
    }
    if !report.faults.is_empty() {
        bail!("answers break a promise, or calls failed: the figures mean nothing");
    }
    Ok(())
}

/// Measures round by round. The first fault ends it, since nothing that follows would mean anything.
async fn all_rounds(stage: &Stage, rounds: usize) -> anyhow::Result<(Steps, Vec<String>)> {
    let mut steps = Steps::new();
    for number in 1..=rounds {
        for groups in GROUPS {
            let (step, faults) = stage.measure(groups).await?;
            eprintln!("round {number}/{rounds}  {groups} shard groups  {step}");
            steps.entry(groups).or_default().push(step);
            if !faults.is_empty() {
                let named = |fault| format!("{groups} shard groups: {fault}");
                return Ok((steps, faults.into_iter().map(named).collect()));
            }
        }
    }
    Ok((steps, Vec::new()))
}
