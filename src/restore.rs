//! `coupon restore`: forms a new cluster from a backup.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_admin::{Question, Survey, connect};
use coupon_client::is_transient;
use coupon_cluster::{Node, NodeId, RestoreSpec, ShardId, ShardMap, StateDigest};
use coupon_env::entropy;
use coupon_proto::internal::backup_service_client::BackupServiceClient;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{
    IdentifyRequest, IdentifyResponse, RestoreClusterRequest, StageStateRequest,
};
use coupon_transport::{Addressed, AddressedChannel, Addressee};
use coupon_wire::node::node_from_identify;
use coupon_wire::{ids, map};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::address::endpoint;
use crate::backup::{Backup, Manifest, progress, verify};
use crate::cluster::ClusterSpec;
use crate::failure::{CallError, of_node};
use crate::settings::Span;
use crate::{output, runtime};

/// Size of the part of a file in one message.
const PART_BYTES: usize = 256 << 10;
/// Maximum number of files sent at a time.
const TRANSFERS_AT_A_TIME: usize = 3;
/// Timeout for a node to identify itself.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a node or leader that is not there yet is asked for again.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Initializes a new cluster from a backup.
///
/// The nodes must run and be in no cluster yet. The new cluster has the shards, campaigns, coupons and code
/// keys of the backup. Codes that the old cluster may have issued after the backup are not issued again: each
/// shard skips a large range of them.
///
/// Everything acknowledged after the backup began may be lost. A recipient whose coupon was lost may get a
/// second one, with another code.
///
/// Restore a backup ONCE, and never an older one after a newer one: two clusters that start from the same
/// state give out the same codes. Stop the old cluster and its routers first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon restore --from /backup/2026-11-27 --nodes node1:7001,node2:7001,node3:7001")]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// All nodes of the new cluster
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    nodes: Vec<String>,
    /// Replicas of each shard: 1, 3 or 5 [default: 3, or 1 if there are fewer nodes]
    #[arg(long, value_name = "N")]
    replication: Option<u32>,
    /// Maximum time for which a step may make no progress; the whole restore may take longer
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Span,
}

/// Runs the command.
pub(crate) fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let formation = ClusterSpec::new(args.nodes, 1, args.replication)?;
    let progress = progress();
    let backup = verify(&args.from, &progress).context("check the backup")?;
    for (shard, state) in &backup.states {
        state.check_restorable().with_context(|| format!("shard {shard}"))?;
    }
    let restore =
        Restore { from: &args.from, backup: &backup, patience: args.timeout.get(), progress };
    let survey =
        runtime::block_on(async { restore.run(&formation).await.context("restore the backup") })?;
    restore.progress.finish_and_clear();
    let (map, manifest) = (survey.map, &backup.manifest);
    output::line(format!(
        "cluster {} is restored: {} nodes, {} shards, every shard has a leader, {} coupons, {} bytes, \
         {:.1} s",
        map.cluster_id,
        map.nodes.len(),
        map.ring_shards.len(),
        manifest.coupons(),
        manifest.bytes(),
        began.elapsed().as_secs_f64()
    ))
}

struct Restore<'a> {
    from: &'a Path,
    backup: &'a Backup,
    patience: Duration,
    progress: ProgressBar,
}

impl Restore<'_> {
    async fn run(&self, formation: &ClusterSpec) -> anyhow::Result<Survey> {
        let mut nodes = Vec::new();
        for address in &formation.nodes {
            let who = self.identify(address).await?;
            if !who.cluster_id.is_empty() {
                bail!(
                    "node {} at {address} belongs to cluster {} already: restore into nodes with \
                     empty data directories",
                    who.node_id,
                    who.cluster_id
                );
            }
            nodes.push(who);
        }
        let map = self.first_map(&nodes, formation.replication)?;
        self.send_all(&map, formation.nodes.iter().zip(&nodes)).await?;
        let former = nodes.iter().min_by_key(|who| who.node_id).context("no node is given")?;
        self.form(&map, former).await?;
        self.wait_for_leaders(&map).await
    }

    /// Waits until a node identifies itself.
    async fn identify(&self, address: &str) -> anyhow::Result<IdentifyResponse> {
        let mut client = ClusterServiceClient::new(endpoint(address)?.connect_lazy());
        let began = Instant::now();
        loop {
            let asked = timeout(IDENTIFY_TIMEOUT, client.identify(IdentifyRequest {})).await;
            let status = match asked {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer"),
            };
            if !is_transient(status.code()) || began.elapsed() > self.patience {
                return Err(CallError::from(status))
                    .with_context(|| format!("ask {address} who it is"));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// The first map of the new cluster. As with `cluster init`, the node with the smallest id forms it.
    fn first_map(&self, nodes: &[IdentifyResponse], replication: u32) -> anyhow::Result<ShardMap> {
        let mut known: Vec<(NodeId, Node)> = Vec::new();
        for who in nodes {
            known.push(node_from_identify(who)?);
        }
        let former = known.iter().enumerate().min_by_key(|(_, (id, _))| *id);
        let former = former.map_or(0, |(place, _)| place);
        known.rotate_left(former);
        let states = self.backup.states.iter();
        let map = self.backup.map.restored(RestoreSpec {
            cluster_id: entropy::uuid(),
            nodes: known,
            replication_factor: replication,
            states: states.map(|(shard, found)| (*shard, found.state)).collect(),
        });
        Ok(map?)
    }

    /// Stages every state on the nodes that will have a replica of its shard.
    async fn send_all(
        &self,
        map: &ShardMap,
        nodes: impl Iterator<Item = (&String, &IdentifyResponse)>,
    ) -> anyhow::Result<()> {
        let mut transfers = Vec::new();
        for (address, who) in nodes {
            let id = ids::node_id(who.node_id)?;
            let hosted =
                map.restored.iter().filter(|(shard, _)| map.replica_on(id, **shard).is_some());
            transfers.extend(hosted.map(|(shard, state)| (address, who, *shard, *state)));
        }
        let bytes = |shard: ShardId| {
            let entries = &self.backup.manifest.shards;
            entries
                .iter()
                .find(|entry| entry.shard_id == shard.get())
                .map_or(0, |entry| entry.bytes)
        };
        self.progress.reset();
        self.progress.set_length(transfers.iter().map(|(_, _, shard, _)| bytes(*shard)).sum());
        let transfers = transfers.into_iter().map(|(address, who, shard, state)| async move {
            let sent = self.send(address, who, shard, state).await;
            sent.with_context(|| format!("send shard {shard} to {address}"))
        });
        let transfers = stream::iter(transfers).buffer_unordered(TRANSFERS_AT_A_TIME);
        transfers.try_collect().await
    }

    async fn send(
        &self,
        address: &str,
        who: &IdentifyResponse,
        shard: ShardId,
        state: StateDigest,
    ) -> anyhow::Result<()> {
        let path = self.from.join(Manifest::file_of(shard.get()));
        let file = tokio::fs::File::open(&path).await;
        let file = file.with_context(|| path.display().to_string())?;
        self.progress.set_message(format!("shard {shard} to {address}"));
        let (moved, mut seen) = watch::channel(());
        let progress = self.progress.clone();
        let first = StageStateRequest {
            state: Some(map::restored_to_pb(shard, &state)),
            ..StageStateRequest::default()
        };
        // A part that cannot be read ends the file early, which the node notices.
        let parts = stream::unfold(file, move |mut file| {
            let (moved, progress) = (moved.clone(), progress.clone());
            async move {
                let mut part = bytes::BytesMut::with_capacity(PART_BYTES);
                let length = file.read_buf(&mut part).await.ok().filter(|length| *length > 0)?;
                progress.inc(length as u64);
                moved.send_replace(());
                Some((StageStateRequest { data: part.freeze(), ..Default::default() }, file))
            }
        });
        let mut client = self.backup_client(address, who).await?;
        let sending = client.stage_state(stream::iter([first]).chain(parts));
        let mut sending = std::pin::pin!(sending);
        loop {
            let silence = async {
                // Every part was sent; the node still checks the file.
                if seen.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                sent = &mut sending => {
                    sent.map_err(CallError::from)?;
                    return Ok(());
                }
                moved = timeout(self.patience, silence) => {
                    let patience = humantime::format_duration(self.patience);
                    moved.with_context(|| format!("no progress for {patience}"))?;
                }
            }
        }
    }

    /// A client of the node that identified itself at an address. It may be in no cluster yet.
    async fn backup_client(
        &self,
        address: &str,
        who: &IdentifyResponse,
    ) -> anyhow::Result<BackupServiceClient<AddressedChannel>> {
        let connected = timeout(self.patience, connect(address)).await;
        let connected = connected.with_context(|| format!("{address} does not answer"))?;
        let channel = connected.map_err(of_node)?;
        let to = Addressee::before_joining(ids::node_id(who.node_id)?, &who.store_id)?;
        Ok(BackupServiceClient::new(Addressed::new(channel, to)))
    }

    /// Forms the cluster. Repeating this with the same map changes nothing.
    async fn form(&self, map: &ShardMap, former: &IdentifyResponse) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let mut client = self.backup_client(&former.address, former).await?;
            let request = RestoreClusterRequest { map: Some(map::map_to_pb(map)) };
            let asked = timeout(self.patience, client.restore_cluster(request)).await;
            let status = match asked {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer"),
            };
            if !is_transient(status.code()) || began.elapsed() > self.patience {
                return Err(CallError::from(status)).context("initialize the cluster");
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    async fn wait_for_leaders(&self, map: &ShardMap) -> anyhow::Result<Survey> {
        self.progress.set_message("waiting for a leader of every shard");
        let (mut best, mut since) = (usize::MAX, Instant::now());
        loop {
            let survey = Survey::take(map.clone(), Question::default()).await;
            let leaderless = survey.leaderless();
            if leaderless.is_empty() {
                return Ok(survey);
            }
            if leaderless.len() < best {
                (best, since) = (leaderless.len(), Instant::now());
            }
            if since.elapsed() > self.patience {
                let shards: Vec<String> = leaderless.iter().map(ToString::to_string).collect();
                bail!(
                    "cluster {} is formed, but these shards have no leader: {}",
                    map.cluster_id,
                    shards.join(", ")
                );
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}
