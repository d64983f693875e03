//! `coupon-bench recipients`: what a list of a recipient's coupons costs on a shard with many campaigns, and what issuing
//! feels of such lists.
//!
//! All campaigns are on one shard. A recipient holds a coupon of some of them. Coupons of one further campaign are issued
//! in an open loop, alone and beside lists in another open loop, in turn. Lists go through the router, so their times have
//! more in them than the node's share.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_client::{new_request_id, v1};
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use serde::Serialize;
use tonic::transport::Channel;

use crate::load::call::{Call, fault};
use crate::load::connect::{connect, connect_once};
use crate::load::open_loop::open_loop;
use crate::load::requests::Requests;
use crate::load::tally::{Tally, Window};
use crate::load::unary::Unary;
use crate::machine::conditions::Conditions;
use crate::report::results::Spread;
use crate::report::table;
use crate::systems::audited::Audited;
use crate::systems::campaigns::{Campaigns, new_id};
use crate::systems::cluster::{Cluster, Shape};

/// Coupons issued per second.
const ISSUES_PER_SECOND: f64 = 500.0;

/// Lists per second.
const LISTS_PER_SECOND: f64 = 20.0;

/// Number of calls whose callers are told apart.
const CALLERS: usize = 64;

/// Time before each measurement in which connections and caches warm up.
const WARM_UP: Duration = Duration::from_millis(500);

/// The time that a list may take.
const LIST_MAX_MS: f64 = 5.0;

/// The factor by which issuing may be slower beside lists.
const ISSUE_FACTOR_MAX: f64 = 2.0;

/// Measures lists of a recipient's coupons on a shard with many campaigns.
#[derive(Debug, clap::Args)]
pub(crate) struct RecipientsArgs {
    /// The program to measure [default: coupon, beside this program]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Number of campaigns on the shard
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    campaigns: u32,
    /// Number of campaigns of which the recipient holds a coupon, spread over all
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    held: u32,
    /// Number of rounds; each measures issuing alone and beside lists
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Length of one measurement in seconds
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Directory in which the nodes keep their data meanwhile; it should be on a disk
    /// [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory for recipients.json [default: it is not written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What was measured, in milliseconds.
#[derive(Debug, Serialize)]
struct Report {
    conditions: Conditions,
    campaigns: u32,
    held: u32,
    rounds: Vec<Round>,
}

/// One round.
#[derive(Debug, Serialize)]
struct Round {
    issue_alone_p50: f64,
    issue_alone_p99: f64,
    issue_beside_p50: f64,
    issue_beside_p99: f64,
    list_p50: f64,
    list_p99: f64,
}

/// Lists what a recipient holds.
#[derive(Clone, Debug)]
struct List {
    client: CouponServiceClient<Channel>,
    recipient: String,
    held: usize,
}

impl Call for List {
    async fn call(&mut self) -> Result<u64, String> {
        let request = v1::ListCouponsRequest {
            recipient: self.recipient.clone(),
            page_size: 1_000,
            ..v1::ListCouponsRequest::default()
        };
        let page = self.client.list_coupons(request).await.map_err(|status| fault(&status))?;
        match page.into_inner().coupons.len() {
            found if found == self.held => Ok(1),
            _ => Err("a list has another number of coupons".to_owned()),
        }
    }
}

/// Runs the command.
pub(crate) async fn measure(args: RecipientsArgs) -> anyhow::Result<()> {
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("coupon"),
    };
    let data = args.data.unwrap_or_else(std::env::temp_dir);
    let count = usize::from(args.rounds);
    let conditions = Conditions::look(&program, &data, count, args.seconds.into())?;
    println!("{}", table::conditions(&conditions));
    let dir = tempfile::tempdir_in(&data).context("make a directory for the nodes")?;
    let mut cluster = Cluster::start(&program, dir.path(), Shape::ONE_SHARD).await?;
    let channels = connect(cluster.router_address()).await?;
    let held = args.held.min(args.campaigns);
    let (list, issues) = prepare(&cluster, &channels, args.campaigns, held).await?;
    let length = Duration::from_secs(args.seconds.into());
    let mut rounds = Vec::new();
    for number in 1..=count {
        let round = measure_round(&list, &issues, length).await?;
        eprintln!("round {number}/{count}  {round:.2?}");
        rounds.push(round);
    }
    cluster.check()?;
    let report = Report { conditions, campaigns: args.campaigns, held, rounds };
    report.print();
    if let Some(out) = args.out {
        std::fs::create_dir_all(&out)?;
        let path = out.join("recipients.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
        println!("written: {}", path.display());
    }
    Ok(())
}

/// Creates the campaigns, and issues the recipient's coupons.
async fn prepare(
    cluster: &Cluster,
    channels: &[Channel],
    campaigns: u32,
    held: u32,
) -> anyhow::Result<(Vec<List>, Vec<Unary>)> {
    let client = Campaigns::new(connect_once(cluster.router_address()).await?);
    let ids: Vec<_> = (0..campaigns).map(|_| new_id()).collect();
    let step = (campaigns / held.max(1)).max(1);
    let hers: Vec<_> =
        (0..held).filter_map(|number| ids.get((number * step) as usize).cloned()).collect();
    eprintln!("creating {campaigns} campaigns");
    Audited::create_all(&client, ids).await?;
    let list = List {
        client: CouponServiceClient::new(connect_once(cluster.router_address()).await?),
        recipient: new_id(),
        held: hers.len(),
    };
    for campaign_id in hers {
        let request = v1::IssueCouponRequest {
            campaign_id,
            recipient: list.recipient.clone(),
            request_id: new_request_id(),
            ..v1::IssueCouponRequest::default()
        };
        list.client.clone().issue_coupon(request).await.context("issue a coupon to list")?;
    }
    let hot = Requests::new(&client.create_large().await?);
    Ok((vec![list], Unary::callers(channels, CALLERS, &hot, None)))
}

async fn measure_round(list: &[List], issues: &[Unary], length: Duration) -> anyhow::Result<Round> {
    let window = Window::after(WARM_UP, length);
    let alone = open_loop(issues, window, ISSUES_PER_SECOND).await?;
    let window = Window::after(WARM_UP, length);
    let (beside, lists) = tokio::try_join!(
        open_loop(issues, window, ISSUES_PER_SECOND),
        open_loop(list, window, LISTS_PER_SECOND),
    )?;
    let faults: Vec<_> = [&alone, &beside, &lists].into_iter().flat_map(Tally::faults).collect();
    if !faults.is_empty() {
        bail!("calls failed: {}", faults.join("; "));
    }
    Ok(Round {
        issue_alone_p50: alone.latency_ms(0.5),
        issue_alone_p99: alone.latency_ms(0.99),
        issue_beside_p50: beside.latency_ms(0.5),
        issue_beside_p99: beside.latency_ms(0.99),
        list_p50: lists.latency_ms(0.5),
        list_p99: lists.latency_ms(0.99),
    })
}

impl Report {
    fn print(&self) {
        let median = |value: fn(&Round) -> f64| {
            let all = self.rounds.iter().map(value).collect();
            Spread::of(all).map_or(f64::NAN, |spread| spread.median)
        };
        let factor = median(|round| round.issue_beside_p99 / round.issue_alone_p99);
        let rows = [
            ("list, p50 ms", median(|round| round.list_p50), LIST_MAX_MS),
            ("issue p99 beside lists over alone", factor, ISSUE_FACTOR_MAX),
        ];
        println!(
            "{} campaigns on one shard, a recipient with {} coupons, {ISSUES_PER_SECOND} issues and \
             {LISTS_PER_SECOND} lists a second; medians of {} rounds",
            self.campaigns,
            self.held,
            self.rounds.len()
        );
        for (figure, value, most) in rows {
            let verdict = if value <= most { "reached" } else { "MISSED" };
            println!("{figure:<40} {value:>10.2}   at most {most:>7.2}   {verdict}");
        }
        println!(
            "issue p50 {:.2} alone, {:.2} beside; p99 {:.2} alone, {:.2} beside; list p99 {:.2} ms",
            median(|round| round.issue_alone_p50),
            median(|round| round.issue_beside_p50),
            median(|round| round.issue_alone_p99),
            median(|round| round.issue_beside_p99),
            median(|round| round.list_p99)
        );
    }
}
