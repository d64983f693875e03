//! Cold campaigns and a hot one: what those that few ask for feel of the one that all ask for.
//!
//! They share a cluster with the default number of shards, so some cold campaigns are on the hot one's shard.
//! Those are told apart from the ones on other shards, which share no more than processes and disks with it.
//! Alone or beside, the cold ones are called in the same open loops, and each was called once before. The hot one has a thread, a runtime and
//! connections of its own, as callers elsewhere would: otherwise its answers would be read before those of the
//! cold ones, and the load generator would be measured.

use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::transport::Channel;

use crate::cell::{ColdSample, Latency, Role, Sample};
use crate::load::call::Call as _;
use crate::load::closed_loop::closed_loop;
use crate::load::connect::{connect, connect_once};
use crate::load::open_loop::open_loop;
use crate::load::tally::{Tally, Window};
use crate::load::unary::Unary;
use crate::meter::{Meter, rest};
use crate::systems::audited::Audited;
use crate::systems::campaigns::{Campaigns, new_id};
use crate::systems::cluster::Cluster;
use crate::systems::placement::Placement;

/// Number of cold campaigns.
const COLD: usize = 999;

/// Calls per second of all cold campaigns together: few, since they are spread over the shards and hardly two share
/// a log entry. A thousand would keep one of two processors busy.
const PER_SECOND: f64 = 300.0;

/// Factor by which measurements are longer than others: calls are few, and 1 % of those to the hot campaign's shard,
/// one of sixteen, must still be several.
const LENGTH_FACTOR: u32 = 4;

/// Number of campaigns that are warmed up at once.
const WARM_AT_ONCE: usize = 32;

/// Time before each measurement in which connections and caches warm up.
const WARM_UP: Duration = Duration::from_millis(500);

/// A cluster with its campaigns. Dropping it ends the cluster and removes its files.
#[derive(Debug)]
pub(crate) struct ColdCampaigns {
    cluster: Cluster,
    campaigns: Campaigns,
    /// Cold campaigns on the shard of the hot one.
    neighbours: Vec<Audited>,
    /// Cold campaigns on other shards.
    others: Vec<Audited>,
    hot: Audited,
    // Dropped last, when nothing writes to it any more.
    _dir: TempDir,
}

impl ColdCampaigns {
    /// Creates the campaigns in a cluster whose files are in `dir`, and warms the cold ones up: the first call of a
    /// campaign is slower than others.
    pub(crate) async fn create(cluster: Cluster, dir: TempDir) -> anyhow::Result<Self> {
        let campaigns = Campaigns::new(connect_once(cluster.router_address()).await?);
        let placement = Placement::of(cluster.shards())?;
        let hot = new_id();
        let hot_shard = placement.shard(&hot)?;
        let (mut on_hot_shard, mut elsewhere) = (Vec::new(), Vec::new());
        for id in (0..COLD).map(|_| new_id()) {
            let is_neighbour = placement.shard(&id)? == hot_shard;
            if is_neighbour { &mut on_hot_shard } else { &mut elsewhere }.push(id);
        }
        let neighbours = Audited::create_all(&campaigns, on_hot_shard).await?;
        let others = Audited::create_all(&campaigns, elsewhere).await?;
        let hot = Audited::create_all(&campaigns, vec![hot]).await?.pop();
        let hot = hot.context("the hot campaign was created")?;
        let cold = Self { cluster, campaigns, neighbours, others, hot, _dir: dir };
        cold.warm_up().await?;
        Ok(cold)
    }

    /// Issues one coupon of each cold campaign.
    async fn warm_up(&self) -> anyhow::Result<()> {
        let channels = connect(self.cluster.router_address()).await?;
        let cold = callers(self.neighbours.iter().chain(&self.others), &channels);
        let calls = cold.into_iter().map(|mut caller| async move { caller.call().await });
        let mut calls = stream::iter(calls).buffer_unordered(WARM_AT_ONCE);
        while let Some(answer) = calls.next().await {
            answer.map_err(anyhow::Error::msg).context("warm a cold campaign up")?;
        }
        Ok(())
    }

    /// Measures the cold campaigns for [`LENGTH_FACTOR`] times `length`, beside `hot_in_flight` calls of the hot
    /// one. Returns what is wrong with the answers of all campaigns as well.
    ///
    /// # Errors
    /// When nothing could be measured.
    pub(crate) async fn measure(
        &mut self,
        hot_in_flight: usize,
        length: Duration,
    ) -> anyhow::Result<(Sample, Vec<String>)> {
        let channels = connect(self.cluster.router_address()).await?;
        let neighbours = callers(&self.neighbours, &channels);
        let others = callers(&self.others, &channels);
        let nodes = self.cluster.node_ids();
        rest(&nodes).await?;
        let client = (Role::Client, vec![std::process::id()]);
        let router = (Role::Router, vec![self.cluster.router_id()]);
        let meter = Meter::start(vec![client, router, (Role::Nodes, nodes)])?;
        let window = Window::after(WARM_UP, length * LENGTH_FACTOR);
        let hot = (hot_in_flight > 0).then(|| self.start_hot(hot_in_flight, window));
        let (neighbours, others) = tokio::try_join!(
            open_loop(&neighbours, window, per_second(&neighbours)),
            open_loop(&others, window, per_second(&others)),
        )?;
        let hot = match hot {
            Some(hot) => Some(hot.await.context("the hot load ended early")??),
            None => None,
        };
        let cold = ColdSample {
            hot_shard: latency(&neighbours),
            other_shards: latency(&others),
            hot_per_second: hot.as_ref().map_or(0.0, Tally::per_second),
        };
        let tally = neighbours.with(&others)?;
        let mut sample = meter.stop(&tally, hot.as_ref().map_or(0, Tally::all))?;
        sample.cold = Some(cold);
        self.cluster.check()?;
        let mut faults: Vec<String> =
            [Some(&tally), hot.as_ref()].into_iter().flatten().flat_map(Tally::faults).collect();
        let all = self.neighbours.iter().chain(&self.others).chain([&self.hot]);
        faults.extend(Audited::faults(&self.campaigns, all).await?);
        Ok((sample, faults))
    }

    /// Starts the closed loop of the hot campaign on a thread of its own, which ends with the window.
    fn start_hot(
        &self,
        in_flight: usize,
        window: Window,
    ) -> oneshot::Receiver<anyhow::Result<Tally>> {
        let address = self.cluster.router_address().to_owned();
        let hot = self.hot.clone();
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let tally = crate::runtime().and_then(|runtime| {
                runtime.block_on(async {
                    let channels = connect(&address).await?;
                    closed_loop(hot.callers(&channels, in_flight), window).await
                })
            });
            // Nothing waits for it if the measurement was interrupted.
            let _ = sender.send(tally);
        });
        receiver
    }
}

/// One caller for each campaign, spread over the connections.
fn callers<'a>(
    campaigns: impl IntoIterator<Item = &'a Audited>,
    channels: &[Channel],
) -> Vec<Unary> {
    let connections = channels.iter().cycle();
    let pairs = campaigns.into_iter().zip(connections);
    pairs.flat_map(|(one, channel)| one.callers(std::slice::from_ref(channel), 1)).collect()
}

/// Calls per second of some of the cold campaigns: all are called equally often.
#[expect(clippy::cast_precision_loss, reason = "a thousand campaigns")]
fn per_second(campaigns: &[Unary]) -> f64 {
    PER_SECOND * campaigns.len() as f64 / COLD as f64
}

fn latency(tally: &Tally) -> Latency {
    Latency {
        per_second: tally.per_second(),
        p50_ms: tally.latency_ms(0.5),
        p99_ms: tally.latency_ms(0.99),
    }
}
