//! Checks that a directory holds a whole and undamaged backup. No cluster is needed for it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use coupon_cluster::{ShardId, ShardMap};
use coupon_node::storage::backup::{Inspection, inspect};
use coupon_proto::internal as pb;
use coupon_wire::map;
use indicatif::ProgressBar;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::manifest::{MAP, Manifest, ShardEntry, hex};

/// Read size: large enough that calls to the system cost nothing.
const READ_BYTES: usize = 256 << 10;

/// A backup that was found whole and undamaged.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    /// Its contents.
    pub(crate) manifest: Manifest,
    /// The shard map of the cluster, with the keys of its codes.
    pub(crate) map: ShardMap,
    /// The state of each shard, in the order of the manifest.
    pub(crate) states: Vec<(ShardId, Inspection)>,
}

/// Reads a whole backup and checks it; `progress` counts the bytes of its states.
///
/// # Errors
/// When it is not whole, is damaged, or cannot be read.
pub(crate) fn verify(dir: &Path, progress: &ProgressBar) -> anyhow::Result<Backup> {
    let manifest = Manifest::read(dir)?;
    progress.set_length(manifest.bytes());
    let map = read_map(dir, &manifest)?;
    let mut states = Vec::new();
    for entry in &manifest.shards {
        let shard = ShardId::new(entry.shard_id).context("the manifest is damaged")?;
        let path = dir.join(&entry.file);
        let found = inspect_whole(&path, shard, entry, progress);
        states.push((shard, found.with_context(|| format!("{} is damaged", path.display()))?));
    }
    let data = map.shards.keys().copied().filter(|shard| *shard != ShardId::META);
    if !data.eq(states.iter().map(|(shard, _)| *shard)) {
        bail!("the shards in the manifest are not those of the shard map");
    }
    Ok(Backup { manifest, map, states })
}

fn read_map(dir: &Path, manifest: &Manifest) -> anyhow::Result<ShardMap> {
    let path = dir.join(MAP);
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let damaged = || format!("{} is damaged", path.display());
    if hex(&Sha256::digest(&bytes)) != manifest.map_sha256 {
        bail!("{}: its checksum does not match", damaged());
    }
    let map = pb::ShardMap::decode(bytes.as_slice()).with_context(damaged)?;
    let map = map::map_from_pb(map).with_context(damaged)?;
    map.check().with_context(damaged)?;
    if (&map.cluster_id, map.epoch.0) != (&manifest.cluster_id, manifest.epoch) {
        bail!("{}: it is of another cluster or epoch", damaged());
    }
    Ok(map)
}

fn inspect_whole(
    path: &Path,
    shard: ShardId,
    entry: &ShardEntry,
    progress: &ProgressBar,
) -> anyhow::Result<Inspection> {
    if file_sha256(path, progress)? != entry.sha256 {
        bail!("its checksum does not match");
    }
    let found = inspect(path, shard)?;
    if hex(&found.state) != entry.state {
        bail!("its state is not the one in the manifest");
    }
    Ok(found)
}

fn file_sha256(path: &Path, progress: &ProgressBar) -> anyhow::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut part = vec![0; READ_BYTES];
    loop {
        let length = file.read(&mut part)?;
        if length == 0 {
            return Ok(hex(&sum.finalize()));
        }
        sum.update(&part[..length]);
        progress.inc(length as u64);
    }
}
