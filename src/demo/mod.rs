//! `coupon demo`: a whole cluster in one process, on loopback, with real files. Nothing is mocked:
//! every node and the router run the code that `coupon node` and `coupon router` run, each on a
//! thread of its own, and talk gRPC.

mod load;
mod member;
mod tables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_admin::{Question, Survey};
use coupon_cluster::NodeId;
use coupon_loadtest::Recording;
use futures::future::select_all;
use tempfile::TempDir;
use tokio::time::timeout;

use self::load::LoadOptions;
use self::member::Member;
use crate::cluster::{ClusterSpec, form};
use crate::failure::UsageError;
use crate::settings::Span;
use crate::{output, runtime};

/// How long the cluster may take until every shard has a leader and every replica knows it. Much
/// more than it takes, for machines that do other things as well.
const FORM_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the pause is between two looks at a cluster that is not settled yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The name of the file that keeps the nodes' addresses. A cluster finds its members by the
/// addresses in its shard map, so that they must not change when it is opened again.
const ADDRESSES: &str = "addresses";

/// Runs a whole cluster in this process, on loopback, until Ctrl-C.
///
/// With --load it issues coupons against itself. At the end it reads back every campaign and prints
/// a verdict: nothing issued twice, beyond the quota, or lost. Exits with 1 if that is not so.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon demo
  coupon demo --load --for 10s
  coupon demo --nodes 5 --shards 16 --data ./demo-data --listen 127.0.0.1:7000")]
pub(crate) struct DemoArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// How many shards
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: u32,
    /// Where the data is kept, to be opened again later [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the router listens; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Issue coupons, as many and as fast as possible
    #[arg(long)]
    load: bool,
    /// When to end [default: at Ctrl-C]
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,
    /// How many coupons a campaign of the load has; the next campaign follows when it is sold out
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "load")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    quota: u32,
    /// How many requests of the load are under way at a time
    #[arg(long, value_name = "N", default_value_t = 256, requires = "load")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Print where the time of log entries goes after three seconds of load, and draw it into a file
    #[cfg(feature = "trace")]
    #[arg(long, value_name = "FILE.svg", requires = "load")]
    trace: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<()> {
    if !args.listen.ip().is_loopback() {
        let why = format!("--listen {}: a demo listens on loopback only", args.listen);
        return Err(UsageError(why).into());
    }
    runtime::abort_on_panic();
    runtime::raise_descriptor_limit();
    let place = Place::of(args.data.as_deref())?;
    runtime::block_on(async {
        let mut signals = runtime::StopSignals::catch()?;
        let mut demo = tokio::select! {
            demo = timeout(FORM_TIMEOUT, Demo::start(&args, place.path())) => {
                demo.context("the cluster was not ready in time")??
            }
            () = signals.next() => bail!("stopped before the cluster was ready"),
        };
        output::line(demo.welcome(args.load))?;
        let ended = async {
            match args.duration {
                Some(span) => tokio::time::sleep(span.get()).await,
                None => std::future::pending().await,
            }
        };
        let stop = async {
            tokio::select! {
                () = ended => {}
                () = signals.next() => {}
            }
        };
        let run = demo.run(&args, stop);
        #[cfg(feature = "trace")]
        let run = async {
            let Some(file) = &args.trace else { return run.await };
            let (recording, marks) = crate::trace::recorded(run).await?;
            let title = format!("{} requests in flight", args.concurrency);
            crate::trace::report(&marks, file, &title)?;
            Ok(recording)
        };
        let recording = run.await?;
        let judged = load::judge(demo.router.address(), recording);
        let judged = signals.unless_impatient(while_all_run(demo.members(), judged)).await;
        demo.stop().await.and(judged)
    })
}

/// Where the data is.
enum Place {
    /// Removed at the end.
    Temporary(TempDir),
    /// Kept.
    Given(PathBuf),
}

impl Place {
    fn of(data: Option<&Path>) -> anyhow::Result<Self> {
        match data {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("make the directory {}", path.display()))?;
                Ok(Self::Given(path.to_owned()))
            }
            None => {
                let made = tempfile::Builder::new().prefix("coupon-demo-").tempdir();
                Ok(Self::Temporary(made.context("make a temporary directory")?))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Given(path) => path,
        }
    }
}

/// A running cluster.
struct Demo {
    nodes: Vec<Member>,
    router: Member,
    survey: Survey,
}

impl Demo {
    async fn start(args: &DemoArgs, place: &Path) -> anyhow::Result<Self> {
        let kept = kept_addresses(place)?;
        if !kept.is_empty() && kept.len() != usize::from(args.nodes) {
            let count = kept.len();
            let why = format!(
                "{} holds a cluster of {count} nodes: say --nodes {count}",
                place.display()
            );
            return Err(UsageError(why).into());
        }
        eprintln!("starting a cluster in {}", place.display());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut nodes: Vec<Member> = Vec::new();
        for number in 1..=args.nodes {
            let listen = kept.get(usize::from(number) - 1).copied().unwrap_or(any);
            let id = NodeId::new(number.into()).context("node ids begin with 1")?;
            let dir = place.join(format!("node-{number}"));
            // The first node forms the cluster; the others find it by those before them.
            let before = nodes.iter().map(Member::address).collect();
            nodes.push(Member::node(id, dir, listen, before).await?);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
        let formation = ClusterSpec::new(addresses.clone(), args.shards, None)?;
        // Before there is a cluster, which is bound to these addresses from then on.
        keep_addresses(place, &addresses)?;
        let formed = while_all_run(&mut nodes, form(&formation, |_| ())).await?;
        let router = Member::router(args.listen, addresses).await?;
        let mut demo = Self { nodes, router, survey: formed.survey };
        demo.settle().await?;
        Ok(demo)
    }

    /// Waits until every replica knows the leader of its shard.
    async fn settle(&mut self) -> anyhow::Result<()> {
        while !self.survey.is_settled() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let before = self.survey.clone();
            let look =
                async { Ok(Survey::take(before.newest_map().await, Question::default()).await) };
            self.survey = while_all_run(self.members(), look).await?;
        }
        Ok(())
    }

    fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.nodes.iter_mut().chain([&mut self.router])
    }

    fn welcome(&self, load: bool) -> String {
        let router = self.router.address();
        let mut text = format!(
            "\ncluster {}\n\n{}\n\n{}\n\nrouter {router}",
            self.survey.map.cluster_id,
            tables::nodes(&self.survey),
            tables::shards(&self.survey),
        );
        if !load {
            text.push_str(&tables::invitation(router));
        }
        text
    }

    /// Sends load, or waits, until `stop`. Returns what was recorded, if anything.
    async fn run(
        &mut self,
        args: &DemoArgs,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Option<Recording>> {
        let router = self.router.address();
        let load = async {
            if !args.load {
                stop.await;
                return Ok(None);
            }
            let options = LoadOptions { quota: args.quota, concurrency: args.concurrency };
            load::give(router, options, stop).await.map(Some)
        };
        while_all_run(self.members(), load).await
    }

    /// Stops the router, and then all nodes at the same time.
    async fn stop(self) -> anyhow::Result<()> {
        let router = self.router.stop().await;
        let nodes = futures::future::join_all(self.nodes.into_iter().map(Member::stop)).await;
        nodes.into_iter().fold(router, anyhow::Result::and)
    }
}

/// Does what needs all these members.
///
/// # Errors
/// At once, when one of them ends by itself: with the reason for that.
async fn while_all_run<T>(
    members: impl IntoIterator<Item = &mut Member>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let failures = members.into_iter().map(|member| Box::pin(member.failure()));
    tokio::select! {
        // What fails since a member has ended is not the cause.
        biased;
        (failure, ..) = select_all(failures) => Err(failure),
        done = work => done,
    }
}

/// The addresses of the nodes that a directory was used with; none if it is new.
fn kept_addresses(place: &Path) -> anyhow::Result<Vec<SocketAddr>> {
    let path = place.join(ADDRESSES);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let addresses = text.lines().map(str::parse).collect::<Result<_, _>>();
    addresses.with_context(|| format!("{} holds no addresses", path.display()))
}

fn keep_addresses(place: &Path, addresses: &[String]) -> anyhow::Result<()> {
    let path = place.join(ADDRESSES);
    let text = addresses.join("\n") + "\n";
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert!(kept_addresses(dir.path()).unwrap().is_empty());
        keep_addresses(dir.path(), &["127.0.0.1:1".into(), "127.0.0.1:2".into()]).unwrap();
        let kept = kept_addresses(dir.path()).unwrap();
        assert_eq!(kept.iter().map(SocketAddr::port).collect::<Vec<_>>(), [1, 2]);
        std::fs::write(dir.path().join(ADDRESSES), "nowhere\n").unwrap();
        assert!(kept_addresses(dir.path()).is_err());
    }
}
