//! `coupon-bench growth`: what a shard with many coupons costs.
//!
//! One campaign grows to ten million coupons on three nodes. On the way: CPU time per coupon, memory and disk,
//! and how long it takes until the cluster serves after all nodes were killed, until one node is back after a
//! planned restart, and until an empty one has everything.

mod issuing;
mod size;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::issuing::{IN_FLIGHT, issue};
use crate::load::audit::Audit;
use crate::load::batch::Batch;
use crate::load::connect::{connect, connect_once};
use crate::load::requests::Requests;
use crate::machine::conditions::Conditions;
use crate::machine::usage::Usage;
use crate::report::table;
use crate::systems::campaigns::Campaigns;
use crate::systems::cluster::{Cluster, Shape};

/// Number of coupons at which CPU time is measured first.
const FEW: u64 = 100_000;

/// Number of coupons at which all nodes are killed.
const KILLED_AT: u64 = 1_000_000;

/// Number of coupons that CPU time is measured over.
const WINDOW: u64 = 300_000;

/// Number of coupons between two lines of progress.
const PROGRESS: u64 = 1_000_000;

/// Pause between two looks at memory while an empty node is fed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Time that compactions get before disk is measured.
const SETTLE: Duration = Duration::from_secs(10);

/// Measures what a shard with many coupons costs.
#[derive(Debug, clap::Args)]
pub(crate) struct GrowthArgs {
    /// The program to measure [default: coupon, beside this program]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Number of coupons that the campaign grows to
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000_000..=100_000_000))]
    coupons: u64,
    /// Directory in which the nodes keep their data meanwhile; it should be on a disk
    /// [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory for growth.json [default: it is not written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Growth {
    conditions: Conditions,
    coupons: u64,
    /// Over all roles, the load generator included, in microseconds.
    cpu_us_few: f64,
    cpu_us_many: f64,
    per_second_few: f64,
    per_second_many: f64,
    /// Of the largest node, in MiB.
    memory_most_mib: f64,
    memory_mib: f64,
    /// Of one replica.
    bytes_per_coupon: f64,
    table_bytes_per_coupon: f64,
    kill_all_at: u64,
    kill_all_seconds: f64,
    restart_seconds: f64,
    empty_node_seconds: f64,
    /// Growth of the other nodes' memory while the empty one is fed.
    feeding_memory_mib: f64,
}

/// Runs the command.
pub(crate) async fn measure(args: GrowthArgs) -> anyhow::Result<()> {
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("coupon"),
    };
    let data = args.data.unwrap_or_else(std::env::temp_dir);
    let conditions = Conditions::look(&program, &data, 1, 0.0)?;
    println!("{}", table::conditions(&conditions));
    let dir = tempfile::tempdir_in(&data).context("make a directory for the nodes")?;
    let growth = grow(&program, dir.path(), args.coupons, conditions).await?;
    print(&growth);
    if let Some(out) = args.out {
        std::fs::create_dir_all(&out)?;
        let path = out.join("growth.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&growth)?)?;
        println!("written: {}", path.display());
    }
    Ok(())
}

async fn grow(
    program: &Path,
    dir: &Path,
    coupons: u64,
    conditions: Conditions,
) -> anyhow::Result<Growth> {
    let mut cluster = Cluster::start(program, dir, Shape::ONE_SHARD).await?;
    let campaigns = Campaigns::new(connect_once(cluster.router_address()).await?);
    let campaign_id = campaigns.create_large().await?;
    let audit = Arc::new(Mutex::new(Audit::default()));
    let requests = Requests::new(&campaign_id);
    let channels = connect(cluster.router_address()).await?;
    let callers = Batch::callers(&channels, IN_FLIGHT, &requests, &audit);

    let mut issued = issue(&callers, FEW).await?;
    let few = window(&cluster, &callers, &mut issued).await?;
    issued += issue(&callers, KILLED_AT.saturating_sub(issued)).await?;
    let kill_all_seconds = kill_all(&mut cluster, &callers, &mut issued).await?;
    eprintln!(
        "{issued} coupons; after kill -9 of all nodes the next ones after {kill_all_seconds:.2} s"
    );
    while issued < coupons {
        let began = Instant::now();
        let more = issue(&callers, PROGRESS.min(coupons - issued)).await?;
        issued += more;
        let memory = size::memory(&cluster.node_ids())?;
        eprintln!(
            "{issued} coupons, {:.0} a second, {:.0} MiB in the largest node",
            per_second(more, began.elapsed()),
            memory.now
        );
    }
    let many = window(&cluster, &callers, &mut issued).await?;
    let memory = size::memory(&cluster.node_ids())?;
    sleep(SETTLE).await;
    let (bytes, table_bytes) = size::disk(&cluster.data(0))?;

    cluster.stop_last()?;
    let began = Instant::now();
    cluster.start_last()?;
    cluster.wait_until_whole().await?;
    let restart_seconds = began.elapsed().as_secs_f64();

    cluster.stop_last()?;
    std::fs::remove_dir_all(cluster.data(cluster.node_ids().len()))?;
    let before = size::memory(&cluster.node_ids())?.now;
    let began = Instant::now();
    cluster.start_last()?;
    let feeding_most = feed(&cluster).await?;
    let empty_node_seconds = began.elapsed().as_secs_f64();

    let shown = campaigns.issued(&campaign_id).await?;
    let faults = audit.lock().faults(shown);
    if !faults.is_empty() {
        bail!("answers break a promise: {}", faults.join("; "));
    }
    Ok(Growth {
        conditions,
        coupons: issued,
        cpu_us_few: few.cpu_us,
        cpu_us_many: many.cpu_us,
        per_second_few: few.per_second,
        per_second_many: many.per_second,
        memory_most_mib: memory.most,
        memory_mib: memory.now,
        bytes_per_coupon: ratio(bytes, issued),
        table_bytes_per_coupon: ratio(table_bytes, issued),
        kill_all_at: KILLED_AT,
        kill_all_seconds,
        restart_seconds,
        empty_node_seconds,
        feeding_memory_mib: feeding_most - before,
    })
}

/// What was measured over a window.
struct Measured {
    cpu_us: f64,
    per_second: f64,
}

/// Issues some more coupons, and measures that.
async fn window(
    cluster: &Cluster,
    callers: &[Batch],
    issued: &mut u64,
) -> anyhow::Result<Measured> {
    let mut pids = cluster.node_ids();
    pids.extend([cluster.router_id(), std::process::id()]);
    let (before, began) = (Usage::of(&pids)?, Instant::now());
    let more = issue(callers, WINDOW).await?;
    let elapsed = began.elapsed();
    let used = Usage::of(&pids)? - before;
    *issued += more;
    Ok(Measured { cpu_us: ratio(used.cpu_micros, more), per_second: per_second(more, elapsed) })
}

/// Kills all nodes and starts them. Returns the seconds until coupons are issued again.
async fn kill_all(
    cluster: &mut Cluster,
    callers: &[Batch],
    issued: &mut u64,
) -> anyhow::Result<f64> {
    cluster.kill_all_and_start()?;
    let began = Instant::now();
    // The router keeps the batch until the shard is led.
    *issued += issue(callers, 1).await?;
    let seconds = began.elapsed().as_secs_f64();
    cluster.wait_until_whole().await?;
    Ok(seconds)
}

/// Waits until all replicas keep up. Returns the largest memory of another node meanwhile, in MiB.
async fn feed(cluster: &Cluster) -> anyhow::Result<f64> {
    let pids = cluster.node_ids();
    let others = &pids[..pids.len() - 1];
    let mut most: f64 = 0.0;
    let whole = cluster.wait_until_whole();
    let looks = async {
        loop {
            most = most.max(size::memory(others).map_or(0.0, |memory| memory.now));
            sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::select! {
        whole = whole => whole?,
        () = looks => {}
    }
    Ok(most)
}

fn print(growth: &Growth) {
    let rows = [
        ("P8", "CPU per coupon, many over few", growth.cpu_us_many / growth.cpu_us_few, 1.15),
        ("P8", "memory of the largest node, MiB", growth.memory_most_mib, 400.0),
        ("P9", "bytes per coupon and replica, tables", growth.table_bytes_per_coupon, 100.0),
        ("P12", "kill -9 of all until a coupon, s", growth.kill_all_seconds, 3.0),
        ("P12", "planned restart until caught up, s", growth.restart_seconds, 5.0),
        ("P12", "empty node until caught up, s", growth.empty_node_seconds, 60.0),
    ];
    println!("{} coupons of one campaign on three nodes", growth.coupons);
    for (demand, figure, value, most) in rows {
        let verdict = if value <= most { "reached" } else { "MISSED" };
        println!("{demand:<4} {figure:<40} {value:>10.2}   at most {most:>7.2}   {verdict}");
    }
    println!(
        "CPU {:.1} and {:.1} us, {:.0} and {:.0} coupons a second; {:.0} MiB at the end; {:.0} bytes a coupon with \
         logs; feeding took {:.0} MiB",
        growth.cpu_us_few,
        growth.cpu_us_many,
        growth.per_second_few,
        growth.per_second_many,
        growth.memory_mib,
        growth.bytes_per_coupon,
        growth.feeding_memory_mib
    );
}

#[expect(clippy::cast_precision_loss, reason = "counts of coupons and bytes fit into 2^52")]
fn ratio(amount: u64, count: u64) -> f64 {
    amount as f64 / count.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of coupons fit into 2^52")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}
