//! Cold campaigns and a hot one: what those that few ask for feel of the one that all ask for.
//!
//! They share a cluster with the default number of shards, so some cold campaigns are on the hot one's shard.
//! Alone or beside, the cold ones are called in the same open loop. The hot one has a thread, a runtime and
//! connections of its own, as callers elsewhere would: otherwise its answers would be read before those of the
//! cold ones, and the load generator would be measured.

use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::cell::{Role, Sample};
use crate::load::closed_loop::closed_loop;
use crate::load::connect::{connect, connect_once};
use crate::load::open_loop::open_loop;
use crate::load::tally::{Tally, Window};
use crate::load::unary::Unary;
use crate::meter::{Meter, rest};
use crate::systems::audited::Audited;
use crate::systems::campaigns::{Campaigns, new_id};
use crate::systems::cluster::Cluster;

/// Number of cold campaigns.
const COLD: usize = 999;

/// Calls per second of all cold campaigns together: few, since they are spread over the shards and hardly two share
/// a log entry. A thousand would keep one of two processors busy.
const PER_SECOND: f64 = 300.0;

/// Factor by which measurements are longer than others: calls are few, and 1 % of them must be enough to tell.
const LENGTH_FACTOR: u32 = 2;

/// Time before each measurement in which connections and caches warm up.
const WARM_UP: Duration = Duration::from_millis(500);

/// A cluster with its campaigns. Dropping it ends the cluster and removes its files.
#[derive(Debug)]
pub(crate) struct ColdCampaigns {
    cluster: Cluster,
    campaigns: Campaigns,
    cold: Vec<Audited>,
    hot: Audited,
    // Dropped last, when nothing writes to it any more.
    _dir: TempDir,
}

impl ColdCampaigns {
    /// Creates the campaigns in a cluster whose files are in `dir`.
    pub(crate) async fn create(cluster: Cluster, dir: TempDir) -> anyhow::Result<Self> {
        let campaigns = Campaigns::new(connect_once(cluster.router_address()).await?);
        let ids = (0..=COLD).map(|_| new_id()).collect();
        let mut cold = Audited::create_all(&campaigns, ids).await?;
        let hot = cold.pop().context("there is one more than the cold ones")?;
        Ok(Self { cluster, campaigns, cold, hot, _dir: dir })
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
        let address = self.cluster.router_address();
        let channels = connect(address).await?;
        let connections = channels.iter().cycle();
        let cold: Vec<Unary> = self
            .cold
            .iter()
            .zip(connections)
            .flat_map(|(one, channel)| one.callers(std::slice::from_ref(channel), 1))
            .collect();
        let nodes = self.cluster.node_ids();
        rest(&nodes).await?;
        let client = (Role::Client, vec![std::process::id()]);
        let router = (Role::Router, vec![self.cluster.router_id()]);
        let meter = Meter::start(vec![client, router, (Role::Nodes, nodes)])?;
        let window = Window::after(WARM_UP, length * LENGTH_FACTOR);
        let hot = (hot_in_flight > 0).then(|| self.start_hot(hot_in_flight, window));
        let tally = open_loop(&cold, window, PER_SECOND).await?;
        let hot = match hot {
            Some(hot) => Some(hot.await.context("the hot load ended early")??),
            None => None,
        };
        let sample = meter.stop(&tally, hot.as_ref().map_or(0, Tally::all))?;
        self.cluster.check()?;
        let mut faults: Vec<String> =
            [Some(&tally), hot.as_ref()].into_iter().flatten().flat_map(Tally::faults).collect();
        let all = self.cold.iter().chain([&self.hot]);
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
