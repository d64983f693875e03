//! Takes a backup: the shard map, and the state of every shard from its leader.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow, bail};
use coupon_admin::map_of;
use coupon_cluster::{NodeId, ShardId, ShardMap};
use coupon_node::storage::StorageError;
use coupon_node::storage::backup::inspect;
use coupon_proto::internal::ExportStateRequest;
use coupon_proto::internal::backup_service_client::BackupServiceClient;
use coupon_transport::{Addressed, Addressee};
use coupon_wire::map::map_to_pb;
use coupon_wire::refusal::leader_named_by;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use super::manifest::write_private;
use super::manifest::{MAP, Manifest, ShardEntry, VERSION, create_private, hex, keep, partial};
use crate::address::endpoint;
use crate::failure::{CallError, UsageError, of_node};

/// Maximum number of shards read at a time: one is sent while another is checked.
const SHARDS_AT_A_TIME: usize = 2;
/// Timeout for the next part from a node; then another node is asked.
const PART_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the leader of a shard is looked for again.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum number of broken-off transfers for one shard.
const BROKEN_OFF_MAX: u32 = 10;

/// Takes a backup of the cluster that `nodes` belong to into the directory `to`. `patience`: how long a shard
/// may send nothing.
///
/// # Errors
/// When the directory is not empty, no node answers, or a shard cannot be read. What was written is then not
/// a backup.
pub(super) async fn take(
    nodes: &[String],
    to: &Path,
    patience: Duration,
    progress: &ProgressBar,
) -> anyhow::Result<Manifest> {
    let began_at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    make_dir(to)?;
    let map = newest_map(nodes).await?;
    let data = map.shards.keys().copied().filter(|shard| *shard != ShardId::META);
    let exports = data.map(|shard| {
        let export = Export { map: &map, shard, dir: to, patience, progress };
        async move { export.run().await.with_context(|| format!("read shard {shard}")) }
    });
    let exports = stream::iter(exports).buffer_unordered(SHARDS_AT_A_TIME);
    let mut shards: Vec<ShardEntry> = exports.try_collect().await?;
    shards.sort_unstable_by_key(|entry| entry.shard_id);

    // A campaign that moved meanwhile could be in two of the states, or in none.
    let after = newest_map(nodes).await?;
    if (after.epoch, &after.ring_shards, &after.code_keys)
        != (map.epoch, &map.ring_shards, &map.code_keys)
    {
        bail!("the ring or the code keys changed during the backup: take another backup");
    }
    let bytes = map_to_pb(&map).encode_to_vec();
    write_private(&to.join(MAP), &bytes)?;
    let manifest = Manifest {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        began_at,
        cluster_id: map.cluster_id,
        epoch: map.epoch.get(),
        map_sha256: hex(&Sha256::digest(&bytes)),
        shards,
        checksum: String::new(),
    };
    manifest.write(to)
}

/// Makes the directory, for its owner alone.
fn make_dir(to: &Path) -> anyhow::Result<()> {
    let mut private = DirBuilder::new();
    let made = private.recursive(true).mode(0o700).create(to);
    let entry = made.and_then(|()| std::fs::read_dir(to)?.next().transpose());
    match entry.with_context(|| to.display().to_string())? {
        Some(_) => Err(UsageError(format!("{} is not empty", to.display())).into()),
        None => Ok(()),
    }
}

/// The newest of the maps that the nodes know.
async fn newest_map(nodes: &[String]) -> anyhow::Result<ShardMap> {
    let mut newest: Option<ShardMap> = None;
    let mut last = anyhow!("no node is given");
    for address in nodes {
        match map_of(address).await {
            Ok(map) => match &newest {
                Some(other) if other.cluster_id != map.cluster_id => {
                    let (one, two) = (&other.cluster_id, &map.cluster_id);
                    bail!("the nodes belong to two clusters, {one} and {two}");
                }
                Some(other) if other.version >= map.version => {}
                Some(_) | None => newest = Some(map),
            },
            Err(error) => last = of_node(error),
        }
    }
    newest.ok_or(last)
}

/// The backup of one shard.
struct Export<'a> {
    map: &'a ShardMap,
    shard: ShardId,
    dir: &'a Path,
    patience: Duration,
    progress: &'a ProgressBar,
}

/// Why a node did not send the state of a shard.
enum Failure {
    /// It does not lead the shard, or cannot send now. Another node may, first of all the named
    /// leader.
    Again { why: String, leader: Option<NodeId> },
    /// It broke off.
    BrokenOff(String),
    /// Another attempt cannot succeed.
    Final(anyhow::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unknown => {
                let leader = leader_named_by(&status);
                Self::Again { why: status.message().to_owned(), leader }
            }
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => Self::Final(CallError::from(status).into()),
        }
    }
}

impl Export<'_> {
    /// Asks one node after another until the leader has sent everything.
    async fn run(&self) -> anyhow::Result<ShardEntry> {
        let replicas = self.map.shards.get(&self.shard).into_iter().flatten();
        let hosts: Vec<NodeId> = replicas.map(|(_, replica)| replica.node).collect();
        let mut turns = hosts.iter().copied().cycle();
        let (mut heard, mut broken_off) = (Instant::now(), 0);
        let mut hint = None;
        loop {
            let turn = hint.take().or_else(|| turns.next()).context("it has no replica")?;
            let why = match self.read_from(turn, &mut heard).await {
                Ok(entry) => return Ok(entry),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::BrokenOff(why)) if broken_off == BROKEN_OFF_MAX => bail!(why),
                Err(Failure::BrokenOff(why)) => {
                    broken_off += 1;
                    why
                }
                Err(Failure::Again { why, leader }) => {
                    hint = leader.filter(|leader| hosts.contains(leader));
                    why
                }
            };
            if heard.elapsed() > self.patience {
                let patience = humantime::format_duration(self.patience);
                bail!("no leader has sent anything for {patience}: {why}");
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Reads the state from one node. `heard`: when the last part came.
    async fn read_from(&self, id: NodeId, heard: &mut Instant) -> Result<ShardEntry, Failure> {
        let shard_id = self.shard.get();
        let again = |why: String| Failure::Again { why, leader: None };
        let node = self.map.nodes.get(&id);
        let node = node.ok_or_else(|| again(format!("node {id} has no address")))?;
        let address = node.address.as_str();
        let to = Addressee::new(&self.map.cluster_id, id, &node.store_id);
        let to = to.map_err(|error| Failure::Final(error.into()))?;
        let endpoint = endpoint(address).map_err(|error| Failure::Final(error.into()))?;
        let late = |_| again(format!("the node at {address} does not answer"));
        let channel = timeout(PART_TIMEOUT, endpoint.connect()).await.map_err(late)?;
        let channel = channel.map_err(|_| again(format!("{address} cannot be reached")))?;
        let mut client = BackupServiceClient::new(Addressed::new(channel, to));
        let asked = client.export_state(ExportStateRequest { shard_id });
        let mut parts = timeout(PART_TIMEOUT, asked).await.map_err(late)??.into_inner();

        let name = Manifest::file_of(shard_id);
        let path = self.dir.join(&name);
        let partial = partial(&path);
        let mut file = create_private(&partial).map_err(Failure::Final)?;
        let failed = |error| {
            let fault = anyhow::Error::new(error).context(partial.display().to_string());
            Failure::Final(fault)
        };
        let mut sum = Sha256::new();
        let mut bytes = 0;
        let ended = loop {
            match timeout(PART_TIMEOUT, parts.message()).await {
                Ok(Ok(Some(part))) => {
                    *heard = Instant::now();
                    sum.update(&part.data);
                    file.write_all(&part.data).map_err(failed)?;
                    bytes += part.data.len() as u64;
                    self.progress.inc(part.data.len() as u64);
                    self.progress.set_message(format!("shard {shard_id}"));
                }
                Ok(Ok(None)) => break Ok(()),
                Ok(Err(status)) => break Err(status.message().to_owned()),
                Err(_) => break Err(format!("the node at {address} stopped sending")),
            }
        };
        let broken_off = |why: String| {
            self.progress.dec(bytes);
            Failure::BrokenOff(why)
        };
        ended.map_err(broken_off)?;
        file.sync_all().map_err(failed)?;
        let (written, shard) = (partial.clone(), self.shard);
        let found = tokio::task::spawn_blocking(move || inspect(&written, shard)).await;
        let found = found.map_err(|error| Failure::Final(error.into()))?;
        let found = found.map_err(|error| match error {
            StorageError::Corrupt { .. } => broken_off(error.to_string()),
            StorageError::Io { .. } | StorageError::RocksDb(_) | StorageError::Lost { .. } => {
                Failure::Final(error.into())
            }
        })?;
        keep(&partial, &path).map_err(Failure::Final)?;
        Ok(ShardEntry {
            shard_id,
            file: name,
            bytes,
            sha256: hex(&sum.finalize()),
            state: hex(&found.state),
            applied_index: found.applied_index,
            log_time_micros: found.shard.log_time.0,
            rows: found.rows,
            campaigns: found.campaigns,
            coupons: found.coupons,
        })
    }
}
